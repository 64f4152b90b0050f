// Buttons that copy: data-copy names the element whose text goes to the clipboard. Without this file the text can be selected by hand.
const SHOWN_MS = 1600;

const copy = async (button, text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // On plain http there is no clipboard: select it, so that one key press copies it.
    const range = document.createRange();
    range.selectNodeContents(document.getElementById(button.dataset.copy));
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return false;
  }
};

for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source) continue;
  const name = button.textContent;
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(button, source.textContent)) ? "Copied" : "Selected";
    setTimeout(() => {
      button.textContent = name;
    }, SHOWN_MS);
  });
}
