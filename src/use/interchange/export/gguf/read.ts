/** Reads an exported GGUF file back: metadata, and tensors as float32. */
import { RunError } from '../../../../core/errors.ts'
import { DiskFile } from '../../../../node/run/checkpoint/tensor-files.ts'
import { decoderOf } from '../../../foreign/decode/decoder.ts'
import { type GgufHeader, type GgufValue, readGgufHeader } from '../../../foreign/gguf/header.ts'

export class OpenGguf {
  private readonly header: GgufHeader
  private readonly file: DiskFile

  private constructor(file: DiskFile, header: GgufHeader) {
    this.file = file
    this.header = header
  }

  static async open(path: string): Promise<OpenGguf> {
    const file = await DiskFile.open(path)
    try {
      return new OpenGguf(file, await readGgufHeader(file))
    } catch (error) {
      await file.close()
      throw error
    }
  }

  close(): Promise<void> {
    return this.file.close()
  }

  get metadata(): ReadonlyMap<string, GgufValue> {
    return this.header.metadata
  }

  number(key: string, fallback?: number): number {
    const value = this.metadata.get(key) ?? fallback
    if (typeof value !== 'number') throw new RunError(`the GGUF file has no number ${key}`)
    return value
  }

  has(tensor: string): boolean {
    return this.header.tensors.has(tensor)
  }

  /** The numbers of a tensor. @param index Index of its first dimension; default: all of it. */
  async tensor(name: string, index: number | null = null): Promise<Float32Array> {
    const entry = this.header.tensors.get(name)
    if (!entry) throw new RunError(`the GGUF file has no tensor ${name}`)
    const parts = index === null ? 1 : (entry.shape[0] as number)
    const bytes = new Uint8Array((entry.end - entry.begin) / parts)
    await this.file.read(bytes, entry.begin + (index ?? 0) * bytes.length)
    const values = new Float32Array(entry.shape.reduce((product, length) => product * length, 1) / parts)
    decoderOf(entry.dtype).decode(bytes.buffer, values)
    return values
  }
}
