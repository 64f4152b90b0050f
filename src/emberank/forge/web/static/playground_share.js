// A state in, the text that stands behind the # of a link out; and back. Pure: knows no page. What comes back is anything: whoever reads it looks at it (playground_state.js).

export const MOST_LINK = 16_000; // characters: what mail programs, chats and address bars carry
const MOST_UNPACKED = 2_000_000; // bytes: a link of a few characters must not become gigabytes

export class LinkFault extends Error {}

/** The text for a state; "z" in front: deflated, "j": as it is, where the browser cannot. */
export async function pack(state) {
  const plain = new TextEncoder().encode(JSON.stringify(state));
  if (typeof CompressionStream === "undefined") return `j${toBase64(plain)}`;
  const packed = new Blob([plain]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  return `z${toBase64(new Uint8Array(await new Response(packed).arrayBuffer()))}`;
}

/** What was packed. Raises LinkFault with a sentence for what is none. */
export async function unpack(text) {
  const kind = text[0];
  if (text.length > MOST_LINK * 4 || !["z", "j"].includes(kind)) throw new LinkFault("The link to this page holds no request that can be read.");
  try {
    const content = fromBase64(text.slice(1));
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(kind === "j" ? content : await inflated(content)));
  } catch (error) {
    if (error instanceof LinkFault) throw error;
    throw new LinkFault("The link to this page was cut or changed on its way: what it held cannot be read. Ask for it again.");
  }
}

async function inflated(content) {
  if (typeof DecompressionStream === "undefined") throw new LinkFault("This browser cannot read the request in the link: it has no DecompressionStream.");
  const reader = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const pieces = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > MOST_UNPACKED) {
      reader.cancel().catch(() => {});
      throw new LinkFault("The link to this page holds more than a request may.");
    }
    pieces.push(value);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

function toBase64(content) {
  let text = "";
  for (let at = 0; at < content.length; at += 0x8000) text += String.fromCharCode(...content.subarray(at, at + 0x8000));
  return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function fromBase64(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
}
