"""Why an image got its labels: where the network looked, which words it went by, what adds up to each logit."""
