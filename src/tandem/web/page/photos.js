// The photos, their labels and the corrections, and the queue that has them labelled.
import { postForm, RequestError } from "./shared/api.js";

const BATCH_BYTES = 16 * 2 ** 20; // of the photos of one request

export class Photo {
  constructor(file, path, caption = "") {
    Object.assign(this, { file, path, caption });
    this.state = "waiting"; // waiting, busy, done or error
    this.result = null; // the server's answer
    this.error = "";
    this.changes = new Map(); // label -> whether the person wants it, where that differs from the prediction
    this.request = 0;
    this.thumbnail = null; // URL of a small copy, "" where the browser cannot read the file
  }

  // its labels are computed anew; those that are on the way are of the caption before
  recaption(caption) {
    this.request++;
    Object.assign(this, { caption, state: "waiting", result: null, error: "" });
  }

  get name() {
    return this.path.slice(this.path.lastIndexOf("/") + 1);
  }

  // predicted labels, the removed ones too, and added ones
  get shown() {
    return [...new Set([...(this.result?.labels ?? []), ...this.changes.keys()])];
  }

  has(label) {
    return this.changes.get(label) ?? this.result?.labels.includes(label) ?? false;
  }

  get labels() {
    return this.shown.filter((label) => this.has(label));
  }

  toggle(label) {
    const wanted = !this.has(label);
    if (wanted === (this.result?.labels.includes(label) ?? false)) this.changes.delete(label);
    else this.changes.set(label, wanted);
  }

  get isCorrected() {
    return this.changes.size > 0;
  }

  // probabilities with the corrections as 1 and 0
  get proba() {
    return Object.fromEntries(
      this.result.all.map(({ label, proba }) => [label, this.changes.has(label) ? Number(this.has(label)) : proba]),
    );
  }

  // the expected value of the set, else the probability that the least certain label is right
  get sureness() {
    if (!this.result) return NaN;
    return this.result.decision?.expected ?? Math.min(1, ...this.result.all.map(({ proba }) => Math.max(proba, 1 - proba)));
  }
}

const fields = (photo) => [["caption", photo.caption], ...(photo.file ? [["photo", photo.file, photo.name]] : [])];

function settle(photo, request, answer) {
  if (request !== photo.request) return; // its caption has changed since
  photo.error = answer.error ?? "";
  photo.result = photo.error ? null : answer;
  photo.state = photo.error ? "error" : "done";
}

// labels one photo, or several in one request; raises RequestError without an answer of the server
export async function labelPhotos(batch) {
  const requests = batch.map((photo) => ++photo.request);
  for (const photo of batch) photo.state = "busy";
  try {
    const answer = await postForm("label", batch.flatMap(fields));
    const answers = batch.length > 1 ? answer.results : [answer];
    batch.forEach((photo, i) => settle(photo, requests[i], answers[i]));
  } catch (error) {
    const isAnswer = error instanceof RequestError && error.status && error.status !== 503; // a busy server has none
    if (isAnswer && batch.length === 1) {
      settle(batch[0], requests[0], { error: error.message });
      return;
    }
    for (const photo of batch) photo.state = "waiting";
    if (!isAnswer) throw error;
    for (const photo of batch) await labelPhotos([photo]); // one of them is at fault
  }
}

// the next photos that wait, at most `most` and a share of bytes
export function nextBatch(photos, most) {
  const batch = [];
  let bytes = 0;
  for (const photo of photos) {
    if (photo.state !== "waiting") continue;
    bytes += photo.file.size;
    if (batch.length && (batch.length >= most || bytes > BATCH_BYTES)) break;
    batch.push(photo);
  }
  return batch;
}
