// Pasted text or a file's text in, the passages that it holds out. Pure: knows no page.

const HEAD = 100_000; // characters by which it is found out what a text is
const LOOKED_AT = 50; // rows by which it is found out which column is text
const FIELDS = ["text", "passage", "content", "document", "body", "input", "sentence"];
const TITLE = "title"; // stands before its text
const LISTS = ["passages", "documents", "input", "inputs", "texts", "sentences", "items", "data"];
export const KINDS = {
  auto: "found out from the text",
  lines: "one per line",
  paragraphs: "paragraphs between blank lines",
  json: "JSON",
  jsonl: "JSON, one value per line",
  csv: "CSV: its text column, else the longest",
  tsv: "a table from a spreadsheet (TSV): its text column, else the longest",
};

/**
 * {items, query, kind, found, empty, long, over, problem}: at most `most` texts of at most `longest` characters each, and what was left out.
 * `query` is that of a whole request, when the JSON is one.
 */
export function readList(source, { kind = "auto", name = "", most = 1000, longest = 200_000 } = {}) {
  const text = source.replace(/^\uFEFF/, "");
  const chosen = kind === "auto" ? guess(text, name) : kind;
  const answer = { items: [], query: "", kind: chosen, found: 0, empty: 0, long: 0, over: 0, problem: "" };
  let values;
  try {
    values = READERS[chosen](text, answer);
  } catch (error) {
    answer.problem = error instanceof Unreadable ? error.message : "This could not be read.";
    return answer;
  }
  for (const value of values) {
    const one = value.trim();
    if (!one) {
      answer.empty += 1;
      continue;
    }
    answer.found += 1;
    if (one.length > longest) answer.long += 1;
    else if (answer.items.length < most) answer.items.push(one);
    else answer.over += 1;
  }
  if (!answer.found) answer.problem = text.trim() ? "No text was found in it." : "";
  return answer;
}

class Unreadable extends Error {}

function guess(text, name) {
  const ending = name.toLowerCase().match(/\.(jsonl|ndjson|json|csv|tsv)$/)?.[1];
  if (ending) return ending === "ndjson" ? "jsonl" : ending;
  const start = text.trimStart();
  if (start[0] === "[" || start[0] === "{") {
    try {
      JSON.parse(text);
      return "json";
    } catch {
      const first = start.split("\n", 1)[0];
      try {
        JSON.parse(first);
        return "jsonl";
      } catch {
        // text that begins with a bracket
      }
    }
  }
  const head = start.slice(0, HEAD);
  if (isTable(head, start.length > HEAD)) return "tsv";
  return /\n[ \t\r]*\n/.test(head.trimEnd()) ? "paragraphs" : "lines";
}

// As spreadsheets put it on the clipboard: as many cells in every row, or one cell each, of which those with line breaks stand in quotation marks.
function isTable(head, more) {
  const rows = table(head);
  const filled = (more ? rows.slice(0, -1) : rows).filter((row) => row.some((cell) => cell.trim()));
  if (!filled.length) return false;
  const [wide] = filled.map((row) => row.length);
  if (wide > 1) return filled.length > 1 && filled.every((row) => row.length === wide);
  return filled.every((row) => row.length === 1) && filled.some(([cell]) => cell.includes("\n")) && head.includes('"');
}

const READERS = {
  lines: (text) => text.split(/\r\n|\r|\n/),
  paragraphs: (text) => text.replace(/\r\n?/g, "\n").split(/\n[ \t]*\n\s*/),
  json: (text, answer) => fromJson(parsed(text), answer),
  jsonl(text, answer) {
    const values = [];
    text.split(/\r\n|\r|\n/).forEach((line, i) => {
      if (!line.trim()) return;
      let value;
      try {
        value = JSON.parse(line);
      } catch {
        throw new Unreadable(`Line ${i + 1} is no JSON. Choose “one per line” if the file holds plain text.`);
      }
      values.push(textOf(value));
    });
    return fromJson(values, answer);
  },
  csv: (text) => column(rowsOf(text, ",")),
  tsv: (text) => column(table(text)),
};

// Cells between tabs. Where quotation marks are only text they stay.
function table(text) {
  try {
    return rowsOf(text, "\t", { strict: true });
  } catch {
    return text.split(/\r\n|\r|\n/).map((line) => line.split("\t"));
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    const where = /position (\d+)/.exec(String(error.message));
    const line = where ? ` in line ${text.slice(0, Number(where[1])).split("\n").length}` : "";
    throw new Unreadable(`This is no JSON: it cannot be read${line}.`);
  }
}

function fromJson(value, answer) {
  if (Array.isArray(value)) return value.map(textOf);
  if (value && typeof value === "object") {
    const list = LISTS.map((name) => value[name]).find(Array.isArray);
    if (list) {
      answer.query = textOf(value.query ?? "").trim();
      return list.map(textOf);
    }
    const single = LISTS.map((name) => value[name]).find((one) => typeof one === "string");
    if (single !== undefined) return [single];
  }
  throw new Unreadable("This JSON is no array. Send [\"…\", \"…\"], or an object with passages, documents or input.");
}

function textOf(value) {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (!value || typeof value !== "object") return "";
  const named = FIELDS.map((name) => value[name]).find((one) => typeof one === "string" && one.trim());
  if (named !== undefined) return titled(value[TITLE], named);
  return typeof value[TITLE] === "string" ? value[TITLE] : (Object.values(value).find((one) => typeof one === "string") ?? "");
}

const titled = (title, text) => (typeof title === "string" && title.trim() && !text.startsWith(title) ? `${title.trim()}\n${text}` : text);

function column(rows) {
  if (!rows.length) return [];
  const head = rows[0].map((cell) => cell.trim().toLowerCase());
  const title = head.indexOf(TITLE);
  const named = head.findIndex((cell) => FIELDS.includes(cell));
  if (named >= 0) return rows.slice(1).map((row) => titled(row[title], row[named] ?? ""));
  if (title >= 0) return rows.slice(1).map((row) => row[title] ?? "");
  const longest = longestOf(rows.slice(0, LOOKED_AT));
  return rows.map((row) => row[longest] ?? "");
}

// Where most of the text is: beside it stand numbers and names.
function longestOf(rows) {
  const sizes = [];
  for (const row of rows) row.forEach((cell, i) => (sizes[i] = (sizes[i] ?? 0) + cell.length));
  return sizes.indexOf(Math.max(...sizes));
}

// Cells between separators; in quotes a cell may hold separators, line breaks and doubled quotes.
function rowsOf(text, separator, { strict = false } = {}) {
  const rows = [];
  let row = [];
  let at = 0;
  const size = text.length;
  while (at < size) {
    let cell = "";
    if (text[at] === '"') {
      at += 1;
      for (;;) {
        const end = text.indexOf('"', at);
        if (end < 0) throw new Unreadable(`Row ${rows.length + 1} opens a quotation mark and does not close it.`);
        cell += text.slice(at, end);
        at = end + 1;
        if (text[at] !== '"') break;
        cell += '"';
        at += 1;
      }
    }
    const from = at;
    const isQuoted = at > 0 && text[at - 1] === '"' && cell !== "";
    while (at < size && text[at] !== separator && text[at] !== "\n" && text[at] !== "\r") at += 1;
    if (strict && isQuoted && at > from) throw new Unreadable(`Row ${rows.length + 1} goes on after a closing quotation mark.`);
    row.push(cell + text.slice(from, at));
    if (text[at] === separator) {
      at += 1;
      if (at < size) continue;
      row.push("");
    }
    if (text[at] === "\r" && text[at + 1] === "\n") at += 1;
    at += 1;
    rows.push(row);
    row = [];
  }
  return rows;
}
