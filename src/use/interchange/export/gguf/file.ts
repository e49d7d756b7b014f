/**
 * The GGUF format, version 3, little-endian: a header with typed metadata, the places of all tensors, then their data,
 * each tensor at a multiple of 32 bytes. Dimensions are listed from the fastest to the slowest.
 */
import type { OutputFile } from '../../../../train/run/checkpoint/safetensors.ts'

const ALIGNMENT = 32
const MAGIC = 'GGUF'
const VERSION = 3

/** Numbers of the types of metadata. */
const valueTypes = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const
type ScalarType = Exclude<keyof typeof valueTypes, 'array'>

export type GgufValue =
  | { readonly type: 'uint32' | 'int32' | 'float32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'array'; readonly of: ScalarType; readonly value: readonly (number | string | boolean)[] }

/** Numbers of the types of tensors. */
export const tensorTypes = { float32: 0, f16: 1, q4_0: 2, q8_0: 8, bf16: 30 } as const

export interface GgufTensor {
  readonly name: string
  /** Dimensions as in PyTorch: the last one varies fastest. */
  readonly shape: readonly number[]
  readonly type: keyof typeof tensorTypes
  readonly byteLength: number
  read(): Promise<Uint8Array>
}

const utf8 = new TextEncoder()

export function ggufFile(
  name: string,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): OutputFile {
  const header = new Bytes()
  header.raw(utf8.encode(MAGIC))
  header.uint32(VERSION)
  header.uint64(tensors.length)
  header.uint64(Object.keys(metadata).length)
  for (const [key, value] of Object.entries(metadata)) {
    header.string(key)
    header.uint32(valueTypes[value.type])
    if (value.type === 'array') {
      header.uint32(valueTypes[value.of])
      header.uint64(value.value.length)
      for (const each of value.value) header.scalar(value.of, each)
    } else header.scalar(value.type, value.value)
  }
  let offset = 0
  for (const { name, shape, type, byteLength } of tensors) {
    header.string(name)
    header.uint32(shape.length)
    for (const length of shape.toReversed()) header.uint64(length)
    header.uint32(tensorTypes[type])
    header.uint64(offset)
    offset = aligned(offset + byteLength)
  }
  header.raw(new Uint8Array(aligned(header.length) - header.length))
  const begin = header.end()
  const pieces = [
    { byteLength: begin.length, read: async () => begin },
    ...tensors.flatMap((tensor) => {
      const padding = aligned(tensor.byteLength) - tensor.byteLength
      return padding === 0 ? [tensor] : [tensor, { byteLength: padding, read: async () => new Uint8Array(padding) }]
    }),
  ]
  return { name, bytes: begin.length + offset, pieces }
}

const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

/** A growing sequence of bytes. */
class Bytes {
  length = 0
  private readonly parts: Uint8Array[] = []

  raw(bytes: Uint8Array): void {
    this.parts.push(bytes)
    this.length += bytes.length
  }

  uint32(value: number): void {
    this.number(4, (view) => view.setUint32(0, value, true))
  }

  uint64(value: number): void {
    this.number(8, (view) => view.setBigUint64(0, BigInt(value), true))
  }

  string(text: string): void {
    const bytes = utf8.encode(text)
    this.uint64(bytes.length)
    this.raw(bytes)
  }

  scalar(type: ScalarType, value: number | string | boolean): void {
    if (type === 'string') this.string(value as string)
    else if (type === 'bool') this.raw(Uint8Array.of(value ? 1 : 0))
    else if (type === 'uint32') this.uint32(value as number)
    else if (type === 'int32') this.number(4, (view) => view.setInt32(0, value as number, true))
    else this.number(4, (view) => view.setFloat32(0, value as number, true))
  }

  end(): Uint8Array {
    const all = new Uint8Array(this.length)
    let at = 0
    for (const part of this.parts) {
      all.set(part, at)
      at += part.length
    }
    return all
  }

  private number(bytes: number, set: (view: DataView) => void): void {
    const part = new Uint8Array(bytes)
    set(new DataView(part.buffer))
    this.raw(part)
  }
}
