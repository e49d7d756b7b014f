/**
 * Arrays of whole numbers in NumPy's file format, .npy: a magic string, a header in Python's syntax, and the numbers as
 * they are in memory (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). Arrays of routes have
 * whole numbers in C order, so other forms are refused with the call of NumPy that converts them.
 */
import { formatValue } from '../../core/config/problems.ts'
import { RunError } from '../../core/errors.ts'

export interface WholeNumbers {
  readonly shape: readonly number[]
  /** In C order: the last index changes fastest. */
  readonly data: ArrayLike<number>
}

const MAGIC = Buffer.from('\x93NUMPY', 'latin1')
/** Bytes before the header: the magic string, two numbers of the version, and the length of the header. */
const PRELUDE = { 1: 10, 2: 12, 3: 12 } as const

type Read = (view: DataView, offset: number) => number

/** Types of numbers by NumPy's names, with their size in bytes. */
const types: Readonly<Record<string, readonly [size: number, read: Read]>> = {
  '|u1': [1, (view, at) => view.getUint8(at)],
  '|i1': [1, (view, at) => view.getInt8(at)],
  '<u2': [2, (view, at) => view.getUint16(at, true)],
  '<i2': [2, (view, at) => view.getInt16(at, true)],
  '<u4': [4, (view, at) => view.getUint32(at, true)],
  '<i4': [4, (view, at) => view.getInt32(at, true)],
  '<u8': [8, (view, at) => Number(view.getBigUint64(at, true))],
  '<i8': [8, (view, at) => Number(view.getBigInt64(at, true))],
}

export const isNpy = (bytes: Uint8Array): boolean => MAGIC.equals(bytes.subarray(0, MAGIC.length))

/**
 * @param where Name of the array in messages.
 * @throws RunError if the bytes are no array of whole numbers in C order and little-endian bytes, or are not all there
 */
export function readNpy(bytes: Uint8Array, where: string): WholeNumbers {
  const refuse = (what: string): never => {
    throw new RunError(`${where}: ${what}`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!isNpy(bytes) || bytes.length < 10) refuse('this is no array of NumPy (expected the bytes that np.save writes)')
  const prelude = PRELUDE[bytes[6] as keyof typeof PRELUDE]
  if (prelude === undefined || bytes.length < prelude)
    return refuse(`version ${bytes[6]} of NumPy's format is not known (expected 1, 2 or 3)`)
  const start = prelude + (prelude === 10 ? view.getUint16(8, true) : view.getUint32(8, true))
  const header = Buffer.from(bytes.subarray(prelude, start)).toString('latin1')
  const [, descr] = /'descr':\s*('[^']*'|\[.*?\])/.exec(header) ?? []
  const [, order] = /'fortran_order':\s*(True|False)/.exec(header) ?? []
  const [, sizes] = /'shape':\s*\(([\d,\sL]*)\)/.exec(header) ?? []
  if (start > bytes.length || descr === undefined || order === undefined || sizes === undefined)
    return refuse('the header of the array is damaged')
  const name = descr.replaceAll("'", '')
  if (name.includes('O')) refuse("the array holds pickled objects (expected whole numbers: array.astype('int32'))")
  const type = Object.hasOwn(types, name) ? types[name] : undefined
  if (!type)
    return refuse(
      `the array has the type ${formatValue(name)} (expected little-endian whole numbers: array.astype('<i4'))`,
    )
  if (order === 'True') refuse('the array is in Fortran order (expected C order: np.ascontiguousarray(array))')
  const shape = [...sizes.matchAll(/\d+/g)].map(([size]) => Number(size))
  const count = shape.reduce((product, size) => product * size, 1)
  const [size, read] = type
  if (bytes.length - start !== count * size)
    refuse(`${bytes.length - start} bytes follow the header, and shape (${shape.join(', ')}) has ${count * size}`)
  return { shape, data: Float64Array.from({ length: count }, (_, i) => read(view, start + i * size)) }
}

/** The bytes of an int32 array, as np.save writes them. @param data In C order. */
export function writeNpy(shape: readonly number[], data: Int32Array): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const header = `{'descr': '<i4', 'fortran_order': False, 'shape': (${sizes}), }`
  // The numbers begin at a multiple of 64 bytes, and a newline ends the header.
  const start = Math.ceil((PRELUDE[1] + header.length + 1) / 64) * 64
  const bytes = Buffer.alloc(start + data.length * 4)
  MAGIC.copy(bytes)
  bytes.writeUInt8(1, 6)
  bytes.writeUInt16LE(start - PRELUDE[1], 8)
  bytes.write(`${header.padEnd(start - PRELUDE[1] - 1)}\n`, PRELUDE[1], 'latin1')
  for (const [i, value] of data.entries()) bytes.writeInt32LE(value, start + i * 4)
  return bytes
}
