// One model's page, live: its status, the six steps, the target tables. Without this script the page says what was so when it was asked for.

import { live } from "./live.js";
import { show } from "./standing.js";
import { follow, steps } from "./steps.js";
import { targets } from "./targets.js";

const { slug, version } = document.getElementById("status").dataset;

steps();
targets();
live({
  model: slug,
  version,
  onModel(status) {
    show(status);
    follow(status);
    // Other parts of the page go by the same stream.
    document.dispatchEvent(new CustomEvent("emberank:status", { detail: status }));
  },
});
