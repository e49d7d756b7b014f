/**
 * Seeded choices without state: a hash of a text, a hash of numbers, and a permutation of 0..n-1 that
 * is computed element by element. All are pure functions, so any position of any order can be recomputed
 * after a restart.
 */

/**
 * Hashes a text to an integer in [0, 2^53), by the cyrb53 construction (two 32-bit multiply-and-xor lanes, murmur3
 * finalizer). The hash is not cryptographic.
 */
export function hashText(text: string, seed: number): number {
  let low = 0xdeadbeef ^ mix(seed)
  let high = 0x41c6ce57 ^ mix(seed + 1)
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    low = Math.imul(low ^ unit, 2654435761)
    high = Math.imul(high ^ unit, 1597334677)
  }
  const a = finalize(low ^ Math.imul(high, 0x9e3779b1))
  const b = finalize(high ^ Math.imul(low, 0x85ebca77))
  return (a & 0x1fffff) * 0x100000000 + b
}

/** Hashes integers below 2^53 to an integer in [0, 2^32). */
export function hashNumbers(...values: readonly number[]): number {
  let hash = 0x9e3779b9
  for (const value of values) hash = finalize(Math.imul(hash, 31) + mix(value))
  return hash
}

/**
 * The image of `index` under a permutation of 0..count-1 that is chosen by `keys` (count below 2^52).
 *
 * A balanced Feistel network of six rounds permutes the smallest power of four that is at least `count`;
 * applying it until the value is below `count` restricts it to 0..count-1 (cycle walking: Black and Rogaway,
 * "Ciphers with Arbitrary Finite Domains", 2002). The expected number of steps is below four.
 */
export function permute(index: number, count: number, ...keys: readonly number[]): number {
  const halfBits = Math.max(1, Math.ceil(Math.log2(Math.max(2, count)) / 2))
  const half = 2 ** halfBits
  const key = hashNumbers(...keys)
  let value = index
  do {
    let left = Math.floor(value / half)
    let right = value % half
    for (let round = 0; round < 6; round++) {
      const mixed = finalize(Math.imul(right + 1, 0x85ebca77) ^ Math.imul(key + round, 0x9e3779b1)) % half
      ;[left, right] = [right, (left ^ mixed) >>> 0]
    }
    value = left * half + right
  } while (value >= count)
  return value
}

/** Folds an integer below 2^53 into 32 mixed bits. */
function mix(value: number): number {
  return finalize((value | 0) ^ Math.imul(Math.floor(value / 0x100000000) | 0, 0xc2b2ae3d))
}

/** The finalizer of murmur3: every input bit changes every output bit with probability near one half. */
function finalize(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
