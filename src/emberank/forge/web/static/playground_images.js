// A file that somebody dropped, pasted or chose in; an image as a request carries it out, or a sentence why not. Knows no form.

import { bytes } from "./playground_state.js";

const SIDES = [8192, 16384]; // pixels of the shorter and of the longer side
const PREVIEW = 320; // pixels of the longer side of a preview
const KINDS = [
  ["PNG", "image/png", [0x89, 0x50, 0x4e, 0x47]],
  ["JPEG", "image/jpeg", [0xff, 0xd8, 0xff]],
  ["GIF", "image/gif", [0x47, 0x49, 0x46, 0x38]],
  ["BMP", "image/bmp", [0x42, 0x4d]],
  ["TIFF", "image/tiff", [0x49, 0x49, 0x2a, 0x00]],
  ["TIFF", "image/tiff", [0x4d, 0x4d, 0x00, 0x2a]],
];
const UNSEEN = "TIFF"; // browsers do not show it, models read it

export class ImageFault extends Error {}

/** [name, MIME type] of an image by its first bytes; null for anything else. */
export function imageKind(head) {
  const word = String.fromCharCode(...head.slice(0, 4), ...head.slice(8, 12));
  if (word === "RIFFWEBP") return ["WebP", "image/webp"];
  const found = KINDS.find(([, , start]) => start.every((byte, i) => head[i] === byte));
  return found ? [found[0], found[1]] : null;
}

/** {url, name, kind, bytes, width, height}. Raises ImageFault, which names the file and says what would be right. */
export async function readImage(file, mostBytes) {
  const name = file.name || "the pasted image";
  if (!file.size) throw new ImageFault(`“${name}” is empty. It was not added.`);
  if (file.size > mostBytes) throw new ImageFault(`“${name}” has ${bytes(file.size)}; an image may have ${bytes(mostBytes)}. It was not added.`);
  const kind = imageKind(new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  if (!kind) throw new ImageFault(`“${name}” is no PNG, JPEG, WebP, GIF, BMP or TIFF image. It was not added.`);
  const content = new Blob([file], { type: kind[1] });
  const size = kind[0] === UNSEEN ? { width: 0, height: 0 } : await sizeOf(content, name, kind[0]);
  const [short, long] = [Math.min(size.width, size.height), Math.max(size.width, size.height)];
  if (short > SIDES[0] || long > SIDES[1]) {
    throw new ImageFault(`“${name}” has ${size.width} × ${size.height} pixels; at most ${SIDES[0]} × ${SIDES[1]} are read. It was not added.`);
  }
  return { url: await urlOf(content, name), name: name.slice(0, 200), kind: kind[0], bytes: file.size, ...size };
}

async function sizeOf(content, name, kind) {
  try {
    const bitmap = await createImageBitmap(content);
    const size = { width: bitmap.width, height: bitmap.height };
    bitmap.close();
    return size;
  } catch {
    throw new ImageFault(`“${name}” begins as a ${kind} image and cannot be read: it is cut off or damaged. It was not added; choose another copy of it.`);
  }
}

function urlOf(content, name) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new ImageFault(`“${name}” could not be read from the disk. It was not added.`));
    reader.readAsDataURL(content);
  });
}

/** A picture of the image, small where the image is large; null where the browser cannot show it. */
export async function previewOf(image) {
  if (image.kind === UNSEEN) return null;
  const picture = new Image();
  picture.alt = `Preview of ${image.name || "the image"}`;
  picture.src = image.url.length < 400_000 ? image.url : await shrunk(image.url);
  try {
    await picture.decode();
    return picture;
  } catch {
    return null;
  }
}

async function shrunk(url) {
  const whole = new Image();
  whole.src = url;
  await whole.decode().catch(() => {});
  const scale = Math.min(1, PREVIEW / Math.max(whole.naturalWidth, whole.naturalHeight, 1));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(whole.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(whole.naturalHeight * scale));
  canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8);
}

/** What stands beside a preview: format, pixels, bytes, name. */
export function described(image) {
  const pixels = image.width ? `${image.width} × ${image.height} pixels` : "";
  return [image.kind, pixels, image.bytes ? bytes(image.bytes) : "", image.name].filter(Boolean).join(" · ");
}
