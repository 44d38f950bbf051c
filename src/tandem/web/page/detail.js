// One photo: its caption, its labels, and why it has them.
import { fillChips } from "./chips.js";
import { $ } from "./shared/dom.js";
import { askExplanation, clearExplanation, decisionText, press, pressed, showExplanation, showRows } from "./explanation.js";
import { labelPhotos } from "./photos.js";

const TINY = 1e-6;

export class Detail {
  // changed(photo): its labels or its state have changed
  constructor(about, changed) {
    this.about = about;
    this.changed = changed;
    this.photo = null;
    this.asked = 0;
  }

  open(photo) {
    this.photo = photo;
    this.asked++;
    $("caption").value = photo.caption;
    $("name").textContent = photo.path;
    this.showPicture();
    clearExplanation();
    busy("");
    if (photo.state === "done") this.show();
    else if (photo.state === "error") this.fail(photo.error);
    else this.label();
  }

  close() {
    this.photo = null;
    this.asked++;
    clearExplanation();
    this.showPicture();
    busy("");
    fail("");
    $("output").hidden = true;
    $("caption").value = "";
    $("submit").disabled = true;
  }

  showPicture() {
    URL.revokeObjectURL($("image").src);
    const file = this.photo?.file;
    $("image").hidden = $("preview").hidden = !file;
    $("invite").hidden = Boolean(file);
    $("drop").classList.toggle("filled", Boolean(file));
    if (file) $("image").src = URL.createObjectURL(file);
    else $("image").removeAttribute("src");
  }

  // the browser cannot read the picture: no broken image is shown
  hidePicture() {
    $("preview").hidden = true;
    $("invite").hidden = false;
    $("drop").classList.remove("filled");
  }

  fail(message, mayRetry = false) {
    fail(message);
    $("submit").disabled = !mayRetry; // the same photo and caption would fail again
  }

  async label() {
    const photo = this.photo, asked = ++this.asked;
    if ($("caption").value !== photo.caption) photo.recaption($("caption").value);
    fail("");
    clearExplanation();
    $("submit").disabled = false;
    busy("computing labels…");
    try {
      await labelPhotos([photo]);
      if (asked !== this.asked) return;
      busy("");
      if (photo.state === "error") this.fail(photo.error);
      else if (photo.state === "done") this.show();
    } catch (error) {
      if (asked === this.asked) {
        busy("");
        this.fail(error.message, true);
      }
    } finally {
      this.changed(photo);
    }
  }

  show() {
    const { photo } = this, { result } = photo;
    fail("");
    $("submit").disabled = false;
    fillChips($("chips"), photo, this.about.labels, () => {
      $("corrected").hidden = !photo.isCorrected;
      this.changed(photo, true);
    });
    $("corrected").hidden = !photo.isCorrected;
    $("decision").textContent = decisionText(result.decision);
    $("training").textContent = result.training?.note ?? "";
    $("training").hidden = !result.training;
    $("hint").textContent = this.hint(result);
    showRows(result, this.about, (name) => this.explain(name));
    $("output").hidden = false;
    if (result.heat || result.words) this.explain(result.labels[0] ?? result.all[0].label, !slow(result));
  }

  hint(result) {
    const words = [];
    if (!this.photo.caption.trim() && this.about.uses_captions) {
      words.push(`No caption: predicted by ${result.served} from the image only.`);
      const estimated = result.all.some((row) => Math.abs(row.terms.caption) > TINY);
      if (estimated) words.push("The caption term is then predicted from image features.");
    }
    if (result.heat || result.words) {
      const time = slow(result) ? `; its heat map takes about ${Math.ceil(result.heat_seconds)} s` : "";
      words.push(`Choose a label below for its explanation${time}.`);
    }
    return words.join(" ");
  }

  async explain(name, heat = true) {
    const { photo, asked } = this, { result } = photo;
    press(name);
    if (!result || (!(heat && result.heat) && !result.words)) return; // none while the labels are computed anew
    const upToDate = () => asked === this.asked && pressed() === name;
    const time = heat && slow(result) ? `, about ${Math.ceil(result.heat_seconds)} s` : "";
    busy(`explaining ${name}${time}…`);
    try {
      const explanation = await askExplanation(photo, photo.caption, name, heat);
      if (upToDate()) showExplanation(name, explanation);
    } catch (error) {
      if (upToDate()) fail(error.message);
    } finally {
      if (upToDate()) busy("");
    }
  }
}

// whether its heat map is made only when a label is chosen
const slow = (result) => result.heat_seconds >= 1;

function fail(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
  if (message) $("output").hidden = true;
}

function busy(text) {
  $("results").setAttribute("aria-busy", text ? "true" : "false");
  $("status").textContent = text;
  $("status").hidden = !text;
}
