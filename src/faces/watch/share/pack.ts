/** Loads as text for a page: counts of tokens as 32-bit integers, compressed by zlib, in base64. */
import { constants, deflateSync } from 'node:zlib'

/**
 * @param loads Counts, which are whole numbers. Their four bytes are apart, all lowest bytes first, since most of the
 * others are 0.
 */
export function packLoads(loads: Float32Array): string {
  const bytes = new Uint8Array(4 * loads.length)
  loads.forEach((count, i) => {
    for (let byte = 0; byte < 4; byte++) bytes[byte * loads.length + i] = (count / 2 ** (8 * byte)) & 255
  })
  return deflateSync(bytes, { level: constants.Z_BEST_COMPRESSION }).toString('base64')
}
