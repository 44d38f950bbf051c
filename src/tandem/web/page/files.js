// What is dropped or chosen: photos, and tables of captions, from files and folders.
const PHOTO = /\.(jpe?g|png|webp|bmp|gif|tiff?|ppm|pgm|avif|jp2|j2k)$/i;
const TABLE = /\.(csv|tsv|txt|json)$/i;

const isHidden = (path) => path.split("/").some((part) => part.startsWith("."));
const { compare } = new Intl.Collator("en", { numeric: true }); // once: it takes long to make
const byPath = (a, b) => compare(a.path, b.path);

// [{file, path}] of a drop, with all files of its folders; entries are asked for before the event ends
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const found = items.map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
  const lists = await Promise.all(found.map(([entry, file]) => (entry ? below(entry) : [{ file, path: file.name }])));
  return lists.flat();
}

async function below(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) return [{ file: await new Promise((done, fail) => entry.file(done, fail)), path }];
  const reader = entry.createReader(), out = [];
  for (;;) { // it gives at most 100 entries at once
    const entries = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!entries.length) return out;
    for (const one of entries) out.push(...(await below(one)));
  }
}

export const chosen = (files) => [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

// {photos, tables, others}; a file that was given alone is a photo whatever its name, so that its error is shown
export function sorted(files) {
  const visible = files.filter(({ path }) => !isHidden(path)).sort(byPath);
  const tables = visible.filter(({ path }) => TABLE.test(path));
  const rest = visible.filter(({ path }) => !TABLE.test(path));
  const photos = visible.length === 1 ? rest : rest.filter(({ path, file }) => PHOTO.test(path) || /^image\//.test(file.type));
  return { photos, tables, others: rest.length - photos.length };
}
