// Small copies of photos, made one after the other, and only for rows that are shown.
const SIZE = 144; // pixels of the longer side
let turn = 0;

export async function makeThumbnails(photos, show) {
  const own = ++turn;
  for (const photo of photos) {
    if (own !== turn) return; // another page is shown
    photo.thumbnail ??= await thumbnailOf(photo.file);
    if (own === turn) show(photo);
  }
}

// URL of a small JPEG; "" where the browser cannot read the file
async function thumbnailOf(file) {
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SIZE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(scale * bitmap.width));
    canvas.height = Math.max(1, Math.round(scale * bitmap.height));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.8));
    return blob ? URL.createObjectURL(blob) : "";
  } catch {
    return "";
  } finally {
    bitmap?.close();
  }
}
