// Embeddings in; vectors, cosines and a flat map of them out. Pure numbers: knows no page and no words.

const EPSILON = 1e-12;
const ROUNDING = 1e-26; // of squares: what is less beside the largest is rounding
const MOST_SWEEPS = 60;

// What a vector's entries are: "float", "int8", "uint8", "binary" or "ubinary". The answer does not say it, the request does.
export function kindOf(body) {
  const asked = [body?.output_dtype, body?.embedding_type].flat().find((word) => typeof word === "string" && word !== "base64");
  return asked ?? "float";
}

// One embedding, numbers or base64, as it came: {entries} or null where it cannot be read.
export function entriesOf(embedding, kind) {
  if (Array.isArray(embedding)) return embedding.length && embedding.every(Number.isFinite) ? Float64Array.from(embedding) : null;
  if (typeof embedding !== "string" || !embedding) return null;
  let bytes;
  try {
    bytes = Uint8Array.from(atob(embedding), (letter) => letter.charCodeAt(0));
  } catch {
    return null; // no base64
  }
  if (kind === "uint8" || kind === "ubinary") return Float64Array.from(bytes);
  if (kind === "int8" || kind === "binary") return Float64Array.from(new Int8Array(bytes.buffer));
  if (bytes.length % 4) return null;
  const view = new DataView(bytes.buffer);
  const floats = Float64Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  return floats.every(Number.isFinite) ? floats : null;
}

// The direction that the entries stand for: the shift of uint8 is taken back, and a bit is +1 or −1, so that cosine is 1 − 2 · Hamming distance / bits.
export function directionOf(entries, kind) {
  if (kind === "uint8") return entries.map((code) => code - 128);
  if (kind !== "binary" && kind !== "ubinary") return entries;
  const bits = new Float64Array(entries.length * 8);
  entries.forEach((code, i) => {
    const byte = kind === "binary" ? code + 128 : code;
    for (let bit = 0; bit < 8; bit += 1) bits[8 * i + bit] = (byte >> (7 - bit)) & 1 ? 1 : -1;
  });
  return bits;
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}

export function norm(vector) {
  return Math.sqrt(dot(vector, vector));
}

// The vector at length one; a vector of zeros stays zeros.
export function unit(vector) {
  const length = norm(vector);
  return length > EPSILON ? vector.map((x) => x / length) : vector;
}

// Cosines of each with each, of vectors of length one: 1 with itself, not 0.999…. A vector of zeros has 0 with everything.
export function cosines(units) {
  const rows = units.map(() => new Float64Array(units.length));
  for (let i = 0; i < units.length; i += 1) {
    rows[i][i] = norm(units[i]) > EPSILON ? 1 : 0;
    for (let j = i + 1; j < units.length; j += 1) rows[i][j] = rows[j][i] = Math.min(1, Math.max(-1, dot(units[i], units[j])));
  }
  return rows;
}

// Pairs of different inputs by their cosine, highest first; of equal ones the first.
export function pairsOf(matrix) {
  const pairs = [];
  for (let i = 0; i < matrix.length; i += 1) for (let j = i + 1; j < matrix.length; j += 1) pairs.push({ i, j, cosine: matrix[i][j] });
  return pairs.sort((a, b) => b.cosine - a.cosine || a.i - b.i || a.j - b.j);
}

// Principal components: {points: [[x, y]], shares: [of the variance on x, on y]}. Shares are null where nothing differs.
// The sign, which is free, is chosen so that the point farthest out on an axis is on its positive side.
export function projected(vectors) {
  const n = vectors.length;
  const gram = centredGram(vectors);
  let trace = 0;
  for (let i = 0; i < n; i += 1) trace += gram[i * n + i];
  if (n < 2 || trace <= EPSILON * n) return { points: vectors.map(() => [0, 0]), shares: null };
  const { values, rows } = eigen(gram, n);
  const order = [...values.keys()].sort((a, b) => values[b] - values[a] || a - b);
  const axes = order.slice(0, 2).map((row) => {
    const value = Math.max(values[row], 0);
    const axis = Array.from({ length: n }, (_, i) => rows[row * n + i] * Math.sqrt(value));
    const farthest = Math.max(...axis.map(Math.abs));
    const first = axis.find((x) => Math.abs(x) >= farthest * (1 - 1e-9)) ?? 0;
    return { share: value / trace, axis: first < 0 ? axis.map((x) => -x) : axis };
  });
  return { points: vectors.map((_, i) => axes.map(({ axis }) => axis[i])), shares: axes.map(({ share }) => share) };
}

// Inner products of the vectors less their mean, n × n in one array: its eigenvectors are the coordinates, whatever the number of dimensions.
function centredGram(vectors) {
  const n = vectors.length;
  const mean = new Float64Array(vectors[0]?.length ?? 0);
  for (const vector of vectors) for (let k = 0; k < mean.length; k += 1) mean[k] += vector[k] / n;
  const centred = vectors.map((vector) => vector.map((x, k) => x - mean[k]));
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i += 1) for (let j = i; j < n; j += 1) gram[i * n + j] = gram[j * n + i] = dot(centred[i], centred[j]);
  return gram;
}

// Jacobi's rotations of a symmetric matrix: exact also where eigenvalues lie close, which power iteration is not. An eigenvector is a row of `rows`.
function eigen(a, n) {
  const rows = new Float64Array(n * n);
  for (let i = 0; i < n; i += 1) rows[i * n + i] = 1;
  for (let sweep = 0; sweep < MOST_SWEEPS; sweep += 1) {
    let off = 0;
    let on = 0;
    for (let i = 0; i < n; i += 1) {
      on += a[i * n + i] ** 2;
      for (let j = i + 1; j < n; j += 1) off += a[i * n + j] ** 2;
    }
    if (off <= ROUNDING * on) break;
    for (let p = 0; p < n - 1; p += 1) for (let q = p + 1; q < n; q += 1) rotate(a, rows, n, p, q, ROUNDING * on);
  }
  return { values: Array.from({ length: n }, (_, i) => a[i * n + i]), rows };
}

function rotate(a, rows, n, p, q, least) {
  const apq = a[p * n + q];
  if (apq * apq <= least / (n * n)) return; // all that is left out so is less than where the sweeps end
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  const app = a[p * n + p] - t * apq;
  const aqq = a[q * n + q] + t * apq;
  turn(a, p * n, q * n, n, c, s);
  turn(rows, p * n, q * n, n, c, s);
  for (let k = 0; k < n; k += 1) {
    a[k * n + p] = a[p * n + k]; // it is symmetric
    a[k * n + q] = a[q * n + k];
  }
  a[p * n + p] = app;
  a[q * n + q] = aqq;
  a[p * n + q] = a[q * n + p] = 0;
}

function turn(rows, p, q, n, c, s) {
  for (let k = 0; k < n; k += 1) {
    const x = rows[p + k];
    const y = rows[q + k];
    rows[p + k] = c * x - s * y;
    rows[q + k] = s * x + c * y;
  }
}
