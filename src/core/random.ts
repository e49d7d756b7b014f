/**
 * Seeded randomness without hidden state: think of an endless table of numbers for every name.
 * `randomFor(seed, 'layers.0.experts.7.up')` opens the table of that name at its beginning, so the numbers
 * depend on the seed and the name alone, never on earlier draws or on the layout of tensors over buffers
 * or ranks.
 *
 * The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a keyed
 * bijection of a counter. The name gives the key, and the position in the table gives the counter.
 */

const M0_LOW = 0x1f53
const M0_HIGH = 0xd251
const M0 = 0xd2511f53 | 0
const M1_LOW = 0x8d57
const M1_HIGH = 0xcd9e
const M1 = 0xcd9e8d57 | 0
const W0 = 0x9e3779b9 | 0
const W1 = 0xbb67ae85 | 0

/** Computes Philox4x32-10 of the counter in `block` [4] under the key (k0, k1), in place. */
export function philox(block: Uint32Array, k0: number, k1: number): void {
  let c0 = (block[0] as number) | 0
  let c1 = (block[1] as number) | 0
  let c2 = (block[2] as number) | 0
  let c3 = (block[3] as number) | 0
  let key0 = k0 | 0
  let key1 = k1 | 0
  for (let round = 0; round < 10; round++) {
    // The high 32 bits of c0·M0 and c2·M1, from 16-bit halves: Math.imul gives only the low 32 bits.
    const low0 = c0 & 0xffff
    const high0 = c0 >>> 16
    const a0 = Math.imul(low0, M0_HIGH)
    const b0 = Math.imul(high0, M0_LOW)
    const carry0 = ((Math.imul(low0, M0_LOW) >>> 16) + (a0 & 0xffff) + (b0 & 0xffff)) >>> 16
    const top0 = Math.imul(high0, M0_HIGH) + (a0 >>> 16) + (b0 >>> 16) + carry0
    const low2 = c2 & 0xffff
    const high2 = c2 >>> 16
    const a2 = Math.imul(low2, M1_HIGH)
    const b2 = Math.imul(high2, M1_LOW)
    const carry2 = ((Math.imul(low2, M1_LOW) >>> 16) + (a2 & 0xffff) + (b2 & 0xffff)) >>> 16
    const top2 = Math.imul(high2, M1_HIGH) + (a2 >>> 16) + (b2 >>> 16) + carry2
    const next1 = Math.imul(c2, M1)
    const next3 = Math.imul(c0, M0)
    c0 = top2 ^ c1 ^ key0
    c1 = next1
    c2 = top0 ^ c3 ^ key1
    c3 = next3
    key0 = (key0 + W0) | 0
    key1 = (key1 + W1) | 0
  }
  block[0] = c0
  block[1] = c1
  block[2] = c2
  block[3] = c3
}

/** One table of random numbers, read from its beginning. */
export class Random {
  private readonly k0: number
  private readonly k1: number
  private readonly block = new Uint32Array(4)
  private counterLow = 0
  private counterHigh = 0
  private used = 4

  /** @param k0 @param k1 The Philox key, two unsigned 32-bit words; {@link randomFor} derives it from a name. */
  constructor(k0: number, k1: number) {
    this.k0 = k0
    this.k1 = k1
  }

  /** The next number, uniform over the integers of [0, 2³²). */
  uint32(): number {
    if (this.used === 4) {
      this.block[0] = this.counterLow
      this.block[1] = this.counterHigh
      this.block[2] = 0
      this.block[3] = 0
      philox(this.block, this.k0, this.k1)
      this.counterLow = (this.counterLow + 1) >>> 0
      if (this.counterLow === 0) this.counterHigh++
      this.used = 0
    }
    return this.block[this.used++] as number
  }

  /** A number that is uniform over the multiples of 2⁻⁵³ in [0, 1). */
  uniform(): number {
    const high = this.uint32() >>> 5
    const low = this.uint32() >>> 6
    return (high * 0x4000000 + low) / 0x20000000000000
  }

  /** A number that is uniform over the integers of [0, n), without bias, for 1 ≤ n ≤ 2³². */
  integer(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 0x100000000) throw new Error(`internal: invalid n: ${n} for integer(n)`)
    // Values at or above the largest multiple of n would favour small remainders: draw again.
    const limit = 0x100000000 - (0x100000000 % n)
    let value = this.uint32()
    while (value >= limit) value = this.uint32()
    return value % n
  }

  /**
   * Fills `into` with N(0, std²) truncated at ±2 std (Switch Transformers, section 2.4). As there, `std` is the
   * deviation before truncation; the result has a deviation of 0.8796 × std.
   *
   * The method is inversion, not rejection, so value i is a function of number i of the table alone.
   */
  truncatedNormal(into: Float32Array, std: number): void {
    const length = into.length
    for (let i = 0; i < length; i++) {
      const uniform = (this.uint32() + 0.5) / 0x100000000
      into[i] = std * normalQuantile(TAIL + uniform * (1 - 2 * TAIL))
    }
  }
}

/** Probability that a standard normal is below −2. */
const TAIL = 0.022750131948179195

/**
 * Inverse of the standard normal distribution function for e⁻²⁵ < p < 1 − e⁻²⁵, to about 1e-7
 * (Wichura, algorithm AS 241, PPND7, without its far tails).
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5
  if (q >= -0.425 && q <= 0.425) {
    const r = 0.180625 - q * q
    return (
      (q * (((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179)) /
      (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1)
    )
  }
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p)) - 1.6
  const value =
    (((0.17023821103 * r + 1.3067284816) * r + 2.75681539) * r + 1.4234372777) /
    ((0.12021132975 * r + 0.7370016425) * r + 1)
  return q < 0 ? -value : value
}

/**
 * The table of random numbers for a name, independent of the tables of all other names and seeds. A number and its
 * decimal string are different labels.
 *
 * @example
 * randomFor(seed, 'init', 'layers.0.attention.query').truncatedNormal(weights, 0.02)
 * randomFor(seed, 'routing', layer, step).integer(experts)
 */
export function randomFor(seed: number, ...labels: (string | number)[]): Random {
  const key = new Uint32Array([0, 0])
  absorb(key, seed)
  for (const label of labels) absorb(key, label)
  return new Random(key[0] as number, key[1] as number)
}

const block = new Uint32Array(4)
const float = new DataView(new ArrayBuffer(8))

/**
 * Mixes a label into the key, one Philox block at a time. The last word of a block is never zero
 * here and always zero in a table, so keys never repeat numbers of a table.
 */
function absorb(key: Uint32Array, label: string | number): void {
  if (typeof label === 'number') {
    float.setFloat64(0, label + 0, true)
    chain(key, float.getUint32(0, true), float.getUint32(4, true), 0, 1)
    return
  }
  const length = label.length
  for (let i = 0; i < length; i += 6) chain(key, pair(label, i), pair(label, i + 2), pair(label, i + 4), 2)
  chain(key, length, 0, 0, 3)
}

/** Two UTF-16 units in a word, zeros past the end (not confused with NUL characters: the length is mixed in later). */
function pair(text: string, at: number): number {
  const low = at < text.length ? text.charCodeAt(at) : 0
  const high = at + 1 < text.length ? text.charCodeAt(at + 1) : 0
  return (low | (high << 16)) >>> 0
}

function chain(key: Uint32Array, a: number, b: number, c: number, kind: number): void {
  block[0] = a
  block[1] = b
  block[2] = c
  block[3] = kind
  philox(block, key[0] as number, key[1] as number)
  key[0] = block[0] as number
  key[1] = block[1] as number
}

/** Fills rows of `k` with distinct integers of [0, n), uniformly: the experts of a random router. */
export function drawDistinct(rows: Int32Array, k: number, n: number, random: Random): void {
  for (let at = 0; at < rows.length; at += k)
    for (let j = 0; j < k; j++) {
      let drawn: number
      do drawn = random.integer(n)
      while (rows.subarray(at, at + j).includes(drawn))
      rows[at + j] = drawn
    }
}

/** Puts values in a random order, in place (Fisher-Yates). */
export function shuffle<T>(values: { readonly length: number; [index: number]: T }, random: Random): void {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.integer(i + 1)
    const held = values[i] as T
    values[i] = values[j] as T
    values[j] = held
  }
}
