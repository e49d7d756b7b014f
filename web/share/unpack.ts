/** Loads from the text in the page: the reverse of packLoads (src/faces/watch/share/snapshots.ts). */
import { unzlibSync } from 'fflate'

export function unpackLoads(packed: string): Float32Array {
  const bytes = unzlibSync(Uint8Array.from(atob(packed), (character) => character.charCodeAt(0)))
  const loads = new Float32Array(bytes.length / 4)
  for (let byte = 0; byte < 4; byte++)
    for (let i = 0; i < loads.length; i++)
      loads[i] = (loads[i] as number) + (bytes[byte * loads.length + i] as number) * 2 ** (8 * byte)
  return loads
}
