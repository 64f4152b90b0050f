// A number in, what a page writes for it out; the same words as filters.py's. What was not measured is a dash, never a zero.

export const NOTHING = "—";

// 4.2 ms, 186 ms, 12.3 s, 1m 33s
export function ms(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value < 999.5) return value < 9.95 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
  if (value < 59950) return `${(value / 1000).toFixed(1)} s`;
  const whole = Math.round(value / 1000);
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}m ${whole % 60}s` : `${Math.floor(minutes / 60)}h ${minutes % 60}m`;
}

// A time that is counted on the page: whole seconds.
export function seconds(value) {
  const whole = Math.max(0, Math.round(value));
  return whole < 60 ? `${whole} s` : ms(whole * 1000);
}

// To the cent, and below a cent with two figures that say something.
export function usd(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value === 0) return "$0";
  if (Math.abs(value) >= 0.01) return `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  const leading = -Math.floor(Math.log10(Math.abs(value)));
  return `$${value.toFixed(Math.min(12, leading + 1))}`;
}

export function plural(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en-US")} ${number === 1 ? one : many}`;
}

// The API's words as a sentence.
export function sentence(text) {
  if (!text) return "";
  const first = /^[a-z]+[:,;]?( |$)/.test(text) ? text[0].toUpperCase() : text[0]; // a name keeps its letters
  return first + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

// Text into an element, what stands between backquotes as code. An element whose text stays is left alone: what is selected in it stays so.
export function write(element, text) {
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  const parts = text.split("`");
  element.replaceChildren(
    ...parts.map((part, i) => {
      if (i % 2 === 0) return part;
      const code = document.createElement("code");
      code.textContent = part;
      return code;
    }),
  );
}
