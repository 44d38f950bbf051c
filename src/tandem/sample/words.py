"""Words and phrases of captions; `|` separates alternatives."""

# {name: (usual words, rarer words, vague words that fit other names too)}
WORDS = {
    "person": (
        "man|woman|person|boy|girl",
        "pedestrian|kid|tourist|hiker|jogger|guy|lady|traveller",
        "figure|somebody",
    ),
    "car": ("car", "taxi|sedan|hatchback|cab|convertible|SUV", "vehicle|ride"),
    "dog": ("dog", "puppy|hound|terrier|retriever", "pet|animal|furry friend"),
    "bicycle": ("bicycle|bike", "cycle|two-wheeler|cargo bike", "ride|set of wheels"),
    "bird": ("bird", "crow|dove|sparrow|finch", "winged visitor|animal"),
    "bus": ("bus", "coach|double-decker|school bus|shuttle", "vehicle|public transport"),
    "boat": ("boat", "ship|sailboat|ferry|yacht|vessel", "craft"),
    "cat": ("cat", "kitten|tabby|kitty|tomcat", "pet|animal|furry friend"),
    "traffic light": ("traffic light", "stoplight|signal|set of lights", "light"),
    "horse": ("horse", "pony|mare|stallion|foal", "animal"),
    "airplane": ("airplane|plane", "jet|airliner|aircraft", "craft|flight"),
    "train": ("train", "locomotive|tram|railcar|express", "public transport"),
    "tree": ("tree", "oak|pine", "greenery"),
    "palm": ("palm tree", "palm", "greenery"),
    "flower": ("flower", "tulip|bloom", "blossom"),
    "house": ("house", "barn|farmhouse", "building"),
    "truck": ("truck", "lorry|van", "vehicle"),
    "motorcycle": ("motorcycle", "motorbike|scooter|moped", "ride|bike"),
    "helicopter": ("helicopter", "chopper", "craft"),
    "tractor": ("tractor", "farm machine", "vehicle"),
    "cow": ("cow", "calf|heifer", "animal"),
    "sheep": ("sheep", "lamb", "animal"),
    "rabbit": ("rabbit", "bunny|hare", "animal|pet"),
    "lighthouse": ("lighthouse", "beacon", "light"),
    "umbrella": ("umbrella", "parasol", "umbrella"),
    "hydrant": ("fire hydrant", "hydrant", "red post"),
    "bench": ("bench", "park bench", "seat"),
    "lamp": ("lamp", "floor lamp", "light"),
    "couch": ("couch|sofa", "armchair", "seat"),
    "chair": ("chair", "wooden chair", "seat"),
    "television": ("television|TV", "flat screen", "screen"),
    "cactus": ("cactus", "houseplant", "greenery"),
    "balloon": ("hot air balloon", "balloon", "something"),
    "kite": ("kite", "colourful kite", "something"),
    "sign": ("sign", "signpost", "sign"),
    "suitcase": ("suitcase", "bag|trolley bag", "luggage"),
}
ADJECTIVES = "small|big|old|lonely|colourful|bright|little|lovely|tired|handsome"
UNCOUNTED = {"greenery", "luggage", "public transport", "somebody", "something"}
PLURALS = {
    "person": "people", "woman": "women", "man": "men", "sheep": "sheep", "aircraft": "aircraft", "craft": "craft",
    "calf": "calves", "set of lights": "sets of lights", "set of wheels": "sets of wheels", "cactus": "cacti",
}  # fmt: skip
# Quantities for two, and for three or more.
COUNTS = {2: "two|a couple of|a pair of|some", 3: "three|some|several|a group of"}

PLACES = {
    "street": "on a busy street|downtown|at a crossing|in the city|by the kerb|on the avenue|outside",
    "park": "in the park|on the grass|along a path|in a meadow|under the trees|outdoors|on the lawn",
    "home": "in the living room|at home|on the rug|indoors|in front of the wall|in a small flat",
    "harbour": "by the water|at the harbour|on the quay|by the sea|on the waterfront|outdoors",
    "farm": "on a farm|in a field|in the countryside|behind the fence|out in the country|outdoors",
    "airport": "at the airport|on the tarmac|near the terminal|outside",
    "station": "at the station|on the platform|next to the tracks|outdoors",
}
VERBS = {
    "street": "waits|is parked|stands|passes by|has stopped",
    "park": "rests|waits|stands|can be seen|enjoys the day",
    "home": "rests|waits|sits|can be seen|is right there",
    "harbour": "waits|can be seen|is moored|lingers|stands out",
    "farm": "stands|waits|rests|can be seen|faces the camera",
    "airport": "waits|stands|can be seen|is getting ready",
    "station": "waits|stands|can be seen|has just arrived",
}
# Used where nothing is mentioned.
NOTHING = {
    "street": "An ordinary day|City life|A street scene|Traffic",
    "park": "A quiet afternoon|A green place|A day out|Fresh air",
    "home": "A cosy corner|A quiet room|Home sweet home|An ordinary room",
    "harbour": "A calm day|Salt in the air|A view of the bay|Holiday mood",
    "farm": "A rural scene|Country life|A quiet day|Green hills",
    "airport": "Time to travel|A grey runway|Between two flights|A windy day",
    "station": "A journey begins|Rails to nowhere|Between two stops|A grey day",
}
# Misleading additions: the things named need not be in the image.
ASIDES = {
    "street": "next to the bus stop|in the bus lane|near a bike rack|while waiting for the bus|beside a car park|"
        "with no car in sight|where dogs must be on a leash|across from the train station|in front of a pet shop|"
        "at the zebra crossing|below a poster of a cat|close to the bird market",
    "park": "near the dog run|beside the bird feeder|where no bikes are allowed|close to the boathouse|"
        "not far from the bridle path for horses|with nobody around|past the car park|by the duck pond|"
        "near the cat statue",
    "home": "under a painting of a horse|beside a toy train|next to the empty bird cage|near the cat flap|"
        "by the dog basket|with a model boat on the shelf|while everybody is out|next to a poster of an airplane",
    "harbour": "beside the empty boat shed|near the ferry terminal|with no ship in sight|by the bike rental|"
        "past the fish stall that cats love|where people go for walks|next to the bus stop|below the gulls",
    "farm": "near the horse trailer|beside the dog house|next to a bird house|far from any car|where cats hunt mice|"
        "by the old railway line|with nobody at work|close to the bus stop",
    "airport": "by the bus stop|next to the car rental|with no plane in sight|near the train to the city|"
        "where birds are scared away|waiting for passengers",
    "station": "next to the bus stop|with no train in sight|by the bike rack|near the car park|waiting for passengers",
}  # fmt: skip
QUOTES = (
    'a sign reads "No dogs, no bikes"|somebody has written "Lost cat, please call" on a wall|'
    'the poster says "Birds, boats, and more"|a sticker says "I love my horse"|the photographer called it "Waiting"|'
    'the caption on the back reads "Summer, 1998"|a banner says "Car free, people friendly"|'
    'a notice says "Beware of the dog"|the title is "Home, at last"|a board says "Trains, every hour"'
)
