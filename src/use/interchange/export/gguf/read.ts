/** Reads a GGUF file: metadata, and tensors as float32. It follows the format's description, not our writer. */
import { type FileHandle, open } from 'node:fs/promises'
import { RunError } from '../../../../core/errors.ts'

type Value = number | bigint | boolean | string | Value[]

interface Place {
  /** Dimensions from the fastest to the slowest. */
  readonly dimensions: readonly number[]
  readonly type: number
  readonly offset: number
}

/** Maximum number of bytes that hold metadata and the places of tensors. */
const MAX_HEADER_BYTES = 256 * 2 ** 20

export class GgufFile {
  readonly metadata: ReadonlyMap<string, Value>
  private readonly places: ReadonlyMap<string, Place>
  private readonly dataStart: number
  private readonly handle: FileHandle

  private constructor(handle: FileHandle, header: Header) {
    this.handle = handle
    this.metadata = header.metadata
    this.places = header.places
    this.dataStart = header.dataStart
  }

  static async open(path: string): Promise<GgufFile> {
    const handle = await open(path, 'r')
    try {
      const { size } = await handle.stat()
      const bytes = new Uint8Array(Math.min(size, MAX_HEADER_BYTES))
      await handle.read(bytes, 0, bytes.length, 0)
      return new GgufFile(handle, new Header(bytes, path))
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  close(): Promise<void> {
    return this.handle.close()
  }

  number(key: string, fallback?: number): number {
    const value = this.metadata.get(key) ?? fallback
    if (typeof value !== 'number') throw new RunError(`the GGUF file has no number ${key}`)
    return value
  }

  has(tensor: string): boolean {
    return this.places.has(tensor)
  }

  async tensor(name: string): Promise<Float32Array> {
    const place = this.places.get(name)
    if (!place) throw new RunError(`the GGUF file has no tensor ${name}`)
    const count = place.dimensions.reduce((product, length) => product * length, 1)
    const bytes = new Uint8Array(count * (place.type === 0 ? 4 : 2))
    await this.handle.read(bytes, 0, bytes.length, this.dataStart + place.offset)
    if (place.type === 0) return new Float32Array(bytes.buffer)
    const halves = new Uint16Array(bytes.buffer)
    return Float32Array.from(halves, place.type === 1 ? fromF16 : fromBf16)
  }
}

const floats = new Float32Array(1)
const bits = new Uint32Array(floats.buffer)

function fromBf16(half: number): number {
  bits[0] = half << 16
  return floats[0] as number
}

function fromF16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const [exponent, fraction] = [(half >>> 10) & 31, half & 1023]
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

/** The part of a file before the data of its tensors. */
class Header {
  readonly metadata = new Map<string, Value>()
  readonly places = new Map<string, Place>()
  readonly dataStart: number
  private at = 0
  private readonly view: DataView
  private readonly bytes: Uint8Array

  constructor(bytes: Uint8Array, path: string) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (new TextDecoder().decode(bytes.subarray(0, 4)) !== 'GGUF') throw new RunError(`${path} is not a GGUF file`)
    this.at = 4
    const version = this.uint32()
    if (version !== 3) throw new RunError(`${path} has version ${version} of GGUF (expected 3)`)
    const tensors = this.uint64()
    const pairs = this.uint64()
    for (let i = 0; i < pairs; i++) this.metadata.set(this.text(), this.value(this.uint32()))
    for (let i = 0; i < tensors; i++) {
      const name = this.text()
      const dimensions = Array.from({ length: this.uint32() }, () => this.uint64())
      this.places.set(name, { dimensions, type: this.uint32(), offset: this.uint64() })
    }
    const alignment = Number(this.metadata.get('general.alignment') ?? 32)
    this.dataStart = Math.ceil(this.at / alignment) * alignment
  }

  private value(type: number): Value {
    const { view } = this
    const take = <T>(size: number, read: (at: number) => T): T => {
      this.at += size
      return read(this.at - size)
    }
    if (type === 4) return this.uint32()
    if (type === 5) return take(4, (at) => view.getInt32(at, true))
    if (type === 6) return take(4, (at) => view.getFloat32(at, true))
    if (type === 7) return take(1, (at) => view.getUint8(at) === 1)
    if (type === 8) return this.text()
    if (type !== 9) throw new RunError(`metadata of type ${type} in a GGUF file`)
    const of = this.uint32()
    return Array.from({ length: this.uint64() }, () => this.value(of))
  }

  private uint32(): number {
    this.at += 4
    return this.view.getUint32(this.at - 4, true)
  }

  private uint64(): number {
    this.at += 8
    return Number(this.view.getBigUint64(this.at - 8, true))
  }

  private text(): string {
    const length = this.uint64()
    this.at += length
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at))
  }
}
