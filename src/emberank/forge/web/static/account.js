// The account page's form for a key: the list of models goes on after a comma, so that several can be chosen. Without this script the first one can, and the
// others are typed.
const field = document.getElementById("models");
const list = document.getElementById("known-models");

if (field && list) {
  const names = [...list.options].map((option) => option.value);
  let before = "";
  field.addEventListener("input", () => {
    const written = field.value.match(/^(.*[,\s])?/)[0] ?? "";
    if (written === before) return;
    before = written;
    const taken = new Set(written.split(/[,\s]+/));
    list.replaceChildren(
      ...names
        .filter((name) => !taken.has(name))
        .map((name) => {
          const option = document.createElement("option");
          option.value = written + name;
          option.label = name;
          return option;
        }),
    );
  });
}
