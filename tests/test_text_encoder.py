"""The sentence encoder of the installed package."""

import numpy as np

from tandem.config.encoders import CaptionEncoder
from tandem.features.text_encoder import load_encoder


def test_a_paraphrase_is_nearer_than_another_subject_and_padding_changes_nothing():
    captions = ["A cat sleeps on a sofa.", "A kitten naps on the couch.", "Two buses wait in heavy city traffic."]
    (together,) = load_encoder(CaptionEncoder())(captions)
    (alone,) = load_encoder(CaptionEncoder())(captions[:1])
    (sentences,) = load_encoder(CaptionEncoder(tokens=False))(captions)
    assert together.shape == (3, 1, 3 * 384)
    assert sentences.shape == (3, 1, 384)
    assert np.allclose(together[0], alone[0], atol=1e-4)
    assert np.allclose(together[:, :, :384], sentences, atol=1e-5)
    near, far = sentences[0, 0] @ sentences[1, 0], sentences[0, 0] @ sentences[2, 0]
    assert near > 0.5 > far + 0.2
