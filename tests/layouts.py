"""Small competitions in the layouts of well-known public ones; all images, texts and labels are made up."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pictures import scene

TRAIN, TEST = 24, 4


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_pictures(folder: Path, names: Sequence[str], seed: int = 0) -> None:
    rng = np.random.default_rng([seed, len(names)])
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        scene(rng, 32).save(folder / name)


def drawn_sets(names: Sequence[str], n: int = TRAIN, most: int = 2, seed: int = 0) -> list[list[str]]:
    """n sets of 1 to `most` names; each name at least twice where n allows."""
    rng = np.random.default_rng(seed)
    return [[names[i % len(names)], *rng.permutation(names)[: rng.integers(most)].tolist()] for i in range(n)]


def unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def flags(labels: Sequence[str], names: Sequence[str]) -> list[int]:
    return [int(name in labels) for name in names]


def planet(folder: Path) -> None:
    names = ["clear", "haze", "primary", "water", "road"]
    rows = [(f"train_{i}", " ".join(unique(s))) for i, s in enumerate(drawn_sets(names))]
    write_csv(folder / "train_v2.csv", ["image_name", "tags"], rows)
    tests = ["test_0", "test_1", "file_0", "file_1"]
    write_csv(folder / "sample_submission_v2.csv", ["image_name", "tags"], [(id, "primary clear") for id in tests])
    write_pictures(folder / "train-jpg", [f"{id}.jpg" for id, _ in rows])
    write_pictures(folder / "train-tif-v2", [f"{id}.tif" for id, _ in rows])
    write_pictures(folder / "test-jpg", ["test_0.jpg", "test_1.jpg"], 1)
    write_pictures(folder / "test-jpg-additional", ["file_0.jpg", "file_1.jpg"], 2)


def human_protein_atlas(folder: Path) -> None:
    sets = drawn_sets(["0", "2", "16", "25"])
    rows = [(f"00070df0-bbc3-11e8-{i:04x}", " ".join(unique(s))) for i, s in enumerate(sets)]
    write_csv(folder / "train.csv", ["Id", "Target"], rows)
    tests = [f"00008af0-bad0-11e8-{i:04x}" for i in range(TEST)]
    write_csv(folder / "sample_submission.csv", ["Id", "Predicted"], [(id, "0") for id in tests])
    for seed, color in enumerate(("red", "green", "blue", "yellow")):
        write_pictures(folder / "train", [f"{id}_{color}.png" for id, _ in rows], seed)
        write_pictures(folder / "test", [f"{id}_{color}.png" for id in tests], 9 + seed)


def imet(folder: Path) -> None:
    sets = drawn_sets(["13", "147", "616", "813", "1092"], most=3)
    rows = [(f"1000483014d9186{i:x}", " ".join(unique(s))) for i, s in enumerate(sets)]
    write_csv(folder / "train.csv", ["id", "attribute_ids"], rows)
    names = [(13, "culture::american"), (147, "culture::french"), (616, "tag::bowls"), (813, "tag::men")]
    write_csv(folder / "labels.csv", ["attribute_id", "attribute_name"], [*names, (1092, "tag::women")])
    tests = [f"10023b2cc4ed5f6{i}" for i in range(TEST)]
    write_csv(folder / "sample_submission.csv", ["id", "attribute_ids"], [(id, "0 1 2") for id in tests])
    write_pictures(folder / "train", [f"{id}.png" for id, _ in rows])
    write_pictures(folder / "test", [f"{id}.png" for id in tests], 1)


def plant_pathology_2020(folder: Path) -> None:
    names = ["healthy", "multiple_diseases", "rust", "scab"]
    rows = [(f"Train_{i}", *flags(s[:1], names)) for i, s in enumerate(drawn_sets(names))]
    write_csv(folder / "train.csv", ["image_id", *names], rows)
    tests = [f"Test_{i}" for i in range(TEST)]
    write_csv(folder / "test.csv", ["image_id"], [(id,) for id in tests])
    write_csv(folder / "sample_submission.csv", ["image_id", *names], [(id, *[0.25] * 4) for id in tests])
    write_pictures(folder / "images", [f"{id}.jpg" for id in [row[0] for row in rows] + tests])


def plant_pathology_2021(folder: Path) -> None:
    names = ["scab", "healthy", "frog_eye_leaf_spot", "rust", "complex"]
    rows = [(f"800113bb65efe69{i:x}.jpg", " ".join(unique(s))) for i, s in enumerate(drawn_sets(names))]
    write_csv(folder / "train.csv", ["image", "labels"], rows)
    tests = [f"85f8cb619c66b86{i}.jpg" for i in range(TEST)]
    write_csv(folder / "sample_submission.csv", ["image", "labels"], [(id, "healthy") for id in tests])
    write_pictures(folder / "train_images", [id for id, _ in rows])
    write_pictures(folder / "test_images", tests, 1)


def chest_x_ray_14(folder: Path) -> None:
    header = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender"]
    header += ["View Position", "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", ""]
    names = ["Cardiomegaly", "Emphysema", "Effusion", "No Finding"]
    rows = []
    for i, s in enumerate(drawn_sets(names)):
        found = "|".join(unique(s) if "No Finding" not in s else ["No Finding"])
        visit = [f"{i // 3 + 1:08}_{i % 3:03}.png", found, i % 3, i // 3 + 1, 40 + i, "MF"[i % 2], "PA"]
        rows.append([*visit, 2682, 2749, 0.143, 0.143, ""])
    write_csv(folder / "Data_Entry_2017.csv", header, rows)
    write_pictures(folder / "images_001" / "images", [row[0] for row in rows[:12]])
    write_pictures(folder / "images_002" / "images", [row[0] for row in rows[12:]], 1)
    (folder / "train_val_list.txt").write_text("\n".join(row[0] for row in rows[:20]) + "\n")
    (folder / "test_list.txt").write_text("\n".join(row[0] for row in rows[20:]) + "\n")


def chexpert(folder: Path) -> None:
    names = ["No Finding", "Edema", "Fracture", "Pneumonia"]
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *names]
    rng = np.random.default_rng(0)
    for split, n in (("train", TRAIN), ("valid", 6)):
        values = ["1.0", "0.0", "-1.0", ""] if split == "train" else ["1.0", "0.0"]
        rows = []
        for i in range(n):
            view = f"CheXpert-v1.0-small/{split}/patient{i:05}/study1/view1_frontal.jpg"
            about = [("Male", "Female")[i % 2], 40 + i, "Frontal", "PA"]
            rows.append([view, *about, *(values[(i + j) % len(values)] for j in rng.permutation(4))])
        write_csv(folder / f"{split}.csv", header, rows)
        write_pictures(folder, [row[0] for row in rows], n)


def ranzcr(folder: Path) -> None:
    names = ["ETT - Abnormal", "ETT - Normal", "NGT - Borderline", "CVC - Normal", "Swan Ganz Catheter Present"]
    ids = [f"1.2.826.0.1.3680043.8.498.267{i:05}" for i in range(TRAIN)]
    rows = [
        (id, *flags(s, names), f"ec89415d{i % 7}") for i, (id, s) in enumerate(zip(ids, drawn_sets(names), strict=True))
    ]
    write_csv(folder / "train.csv", ["StudyInstanceUID", *names, "PatientID"], rows)
    tests = [f"1.2.826.0.1.3680043.8.498.468{i:05}" for i in range(TEST)]
    write_csv(folder / "sample_submission.csv", ["StudyInstanceUID", *names], [(id, *[0] * 5) for id in tests])
    write_pictures(folder / "train", [f"{id}.jpg" for id in ids])
    write_pictures(folder / "test", [f"{id}.jpg" for id in tests], 1)


def odir(folder: Path) -> None:
    names = ["N", "D", "G", "C"]
    header = ["ID", "Patient Age", "Patient Sex", "Left-Fundus", "Right-Fundus", "Left-Diagnostic Keywords"]
    header += ["Right-Diagnostic Keywords", *names, "filepath", "labels", "target", "filename"]
    words = {"N": "normal fundus", "D": "moderate retinopathy", "G": "glaucoma", "C": "cataract"}
    rows = []
    for i, s in enumerate(drawn_sets(names)):
        left, right = f"{i}_left.jpg", f"{i}_right.jpg"
        about = [i, 50 + i % 30, ("Male", "Female")[i % 2], left, right, words[s[0]], words[s[-1]]]
        file = (left, right)[i % 2]
        own = [s[0]] if i % 2 == 0 else [s[-1]]
        rows.append([*about, *flags(own, names), f"../input/{file}", f"['{own[0]}']", str(flags(own, names)), file])
    write_csv(folder / "full_df.csv", header, rows)
    write_pictures(folder / "preprocessed_images", [row[-1] for row in rows])


def movie_genres(folder: Path) -> None:
    names = ["Action", "Comedy", "Drama", "Horror"]
    rows = [(f"tt01{i:05}", str(unique(s)), *flags(s, names)) for i, s in enumerate(drawn_sets(names))]
    write_csv(folder / "train.csv", ["Id", "Genre", *names], rows)
    write_pictures(folder / "Images", [f"{row[0]}.jpg" for row in rows])


def comp5329(folder: Path) -> None:
    lines = ["ImageID,Labels,Caption"]
    for i, s in enumerate(drawn_sets(["1", "3", "8", "19"])):
        quote = 'a sign that says "STOP" ' if i % 5 == 0 else ""
        lines.append(f'{i}.jpg,{" ".join(unique(s))},"A street with {quote}number {i}, seen from a car."')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    tests = [f"{i}.jpg" for i in range(TRAIN, TRAIN + TEST)]
    write_csv(folder / "test.csv", ["ImageID", "Caption"], [(id, "A bus on a street.") for id in tests])
    write_csv(folder / "sample_submission.csv", ["ImageID", "Labels"], [(id, "1") for id in tests])
    write_pictures(folder / "data", [f"{i}.jpg" for i in range(TRAIN + TEST)])


def coco_captions(folder: Path) -> None:
    names = ["person", "dog", "car", "fire hydrant"]
    files = [f"{391895 + i:012}.jpg" for i in range(TRAIN + TEST)]
    rows = [(file, "|".join(unique(s))) for file, s in zip(files, drawn_sets(names), strict=False)]
    write_csv(folder / "train.csv", ["file_name", "labels"], rows)
    write_csv(folder / "test.csv", ["file_name"], [(file,) for file in files[TRAIN:]])
    images = [{"id": 391895 + i, "file_name": file, "height": 32, "width": 32} for i, file in enumerate(files)]
    texts = ("A {} on the road.", "There is a {} near a house.")
    notes = []
    for i, image in enumerate(images):
        for j, text in enumerate(texts):
            notes.append({"image_id": image["id"], "id": 2 * i + j, "caption": text.format(names[i % 4])})
    (folder / "annotations").mkdir(parents=True)
    captions = {"info": {}, "images": images, "annotations": notes}
    (folder / "annotations" / "captions_train2017.json").write_text(json.dumps(captions))
    write_pictures(folder / "train2017", files)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "Planet: Understanding the Amazon": planet,
    "Human Protein Atlas": human_protein_atlas,
    "iMet Collection": imet,
    "Plant Pathology 2020": plant_pathology_2020,
    "Plant Pathology 2021": plant_pathology_2021,
    "ChestX-ray14": chest_x_ray_14,
    "CheXpert": chexpert,
    "RANZCR CLiP": ranzcr,
    "ODIR-5K": odir,
    "Movie genres from posters": movie_genres,
    "COMP5329": comp5329,
    "MS-COCO captions": coco_captions,
}
