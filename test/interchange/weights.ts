/**
 * Random weights that the witness asks for by name and shape, as a modelling file does when it makes its layers. The
 * weights that it asked for are the layout of a folder, which is written without Choir's code.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type StoredType = 'F32' | 'BF16' | 'F16'

export interface Weight {
  readonly shape: readonly number[]
  readonly type: StoredType
  readonly values: Float64Array
  readonly bytes: Uint8Array
}

export class Weights {
  private readonly made = new Map<string, Weight>()
  private readonly type: StoredType
  private readonly seed: number

  constructor(type: StoredType, seed = 1) {
    this.type = type
    this.seed = seed
  }

  get names(): string[] {
    return [...this.made.keys()]
  }

  /** A linear layer [out, in] of standard deviation `scale`/√in, or stacked layers [..., out, in]. */
  linear(name: string, shape: readonly number[], scale = 1): Float64Array {
    return this.get(name, shape, (normal) => (scale * normal) / Math.sqrt(shape.at(-1) as number))
  }

  norm(name: string, size: number): Float64Array {
    return this.get(name, [size], (normal) => 1 + normal / 8)
  }

  vector(name: string, size: number, scale: number, type = this.type): Float64Array {
    return this.get(name, [size], (normal) => scale * normal, type)
  }

  table(name: string, shape: readonly number[], scale: number): Float64Array {
    return this.get(name, shape, (normal) => scale * normal)
  }

  private get(name: string, shape: readonly number[], of: (normal: number) => number, type = this.type): Float64Array {
    const known = this.made.get(name)
    if (known) return known.values
    const random = randomOf(`${this.seed} ${name}`)
    const size = shape.reduce((product, dimension) => product * dimension, 1)
    const numbers = Float64Array.from({ length: size }, () => of(random()))
    const { bytes, values } = stored(numbers, type)
    this.made.set(name, { shape, type, values, bytes })
    return values
  }

  /** Writes `model.safetensors`, or `shards` files with an index. @param change Edits the tensors that are written. */
  save(folder: string, shards = 1, change: (tensors: Map<string, Weight>) => void = () => {}): void {
    const tensors = new Map(this.made)
    change(tensors)
    const all = [...tensors]
    if (shards === 1) {
      writeFileSync(join(folder, 'model.safetensors'), safetensors(all))
      return
    }
    const map: Record<string, string> = {}
    for (let shard = 0; shard < shards; shard++) {
      const file = `model-0000${shard + 1}-of-0000${shards}.safetensors`
      const part = all.filter((_, i) => i % shards === shard)
      for (const [name] of part) map[name] = file
      writeFileSync(join(folder, file), safetensors(part))
    }
    const index = { metadata: { total_size: 0 }, weight_map: map }
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index))
  }
}

function safetensors(tensors: readonly (readonly [string, Weight])[]): Uint8Array {
  let at = 0
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  for (const [name, { shape, type, bytes }] of tensors) {
    header[name] = { dtype: type, shape, data_offsets: [at, at + bytes.length] }
    at += bytes.length
  }
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([length, json, ...tensors.map(([, { bytes }]) => bytes)])
}

/** Numbers in a type, and their little-endian bytes. F32 is rounded; BF16 and F16 are truncated, which will do here. */
function stored(numbers: Float64Array, type: StoredType): { bytes: Uint8Array; values: Float64Array } {
  const view = new DataView(new ArrayBuffer(numbers.length * (type === 'F32' ? 4 : 2)))
  const values = numbers.map((number, i) => {
    if (type === 'F32') {
      view.setFloat32(4 * i, number, true)
      return Math.fround(number)
    }
    if (type === 'BF16') {
      const float = new DataView(new ArrayBuffer(4))
      float.setFloat32(0, number)
      view.setUint16(2 * i, float.getUint16(0), true)
      float.setUint16(2, 0)
      return float.getFloat32(0)
    }
    const exponent = Math.max(-14, Math.floor(Math.log2(Math.abs(number))))
    const steps = Math.trunc(Math.abs(number) / 2 ** (exponent - 10))
    const isNormal = steps >= 1024
    const bits = (number < 0 ? 0x8000 : 0) | (isNormal ? ((exponent + 15) << 10) | (steps - 1024) : steps)
    view.setUint16(2 * i, bits, true)
    return Math.sign(number) * steps * 2 ** (exponent - 10)
  })
  return { bytes: new Uint8Array(view.buffer), values }
}

/** Standard normal numbers that depend on a label (xorshift32 and Box-Muller). */
function randomOf(label: string): () => number {
  let state = 2166136261
  for (const character of label) state = Math.imul(state ^ character.charCodeAt(0), 16777619)
  const uniform = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return ((state >>> 0) + 1) / 4294967297
  }
  for (let i = 0; i < 8; i++) uniform()
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
}
