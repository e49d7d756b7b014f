/** NumPy itself is the witness of its format, where it is installed (python3-numpy of Debian). */
import { execFileSync, spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { readNpy, writeNpy } from './npy.ts'

/** The bytes that np.save writes in version 1 for a header and numbers. */
function saved(header: string, ...bytes: number[]): Uint8Array {
  const text = `${header.padEnd(117)}\n`
  const prelude = [0x93, ...Buffer.from('NUMPY'), 1, 0, text.length, 0]
  return Uint8Array.from([...prelude, ...Buffer.from(text), ...bytes])
}

const described = (descr: string, shape: string, order = 'False') =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }`

test('an array that was written is read', () => {
  const data = Int32Array.from([0, 1, -1, 70_000, 2 ** 31 - 1, -(2 ** 31)])
  for (const shape of [[6], [2, 3], [1, 3, 2]]) {
    const { shape: found, data: numbers } = readNpy(writeNpy(shape, data), 'array')
    expect(found).toEqual(shape)
    expect([...Array.from(numbers)]).toEqual([...data])
  }
  expect(readNpy(writeNpy([0, 2, 2], new Int32Array()), 'array')).toMatchObject({ shape: [0, 2, 2] })
})

test('bytes are read as the format defines them', () => {
  expect(readNpy(saved(described("'|u1'", '(1, 3)'), 7, 0, 255), 'array')).toEqual({
    shape: [1, 3],
    data: Float64Array.of(7, 0, 255),
  })
  expect(readNpy(saved(described("'<i2'", '(2,)'), 1, 2, 255, 255), 'array').data).toEqual(Float64Array.of(513, -1))
})

test.each([
  ['big-endian numbers', saved(described("'>i4'", '(1,)'), 0, 0, 0, 1), /type ">i4" \(expected little-endian whole/],
  ['fractions', saved(described("'<f4'", '(1,)'), 0, 0, 0, 0), /type "<f4" .*astype\('<i4'\)/],
  ['pickled objects', saved(described("'|O'", '(1,)'), 0, 0, 0, 0), /pickled objects .*astype\('int32'\)/],
  ['records', saved(described("[('a', '<i4')]", '(1,)'), 0, 0, 0, 0), /type "\[\(a, <i4\)\]"/],
  ['Fortran order', saved(described("'|u1'", '(1, 2)', 'True'), 1, 2), /Fortran order .*ascontiguousarray/],
  [
    'too few bytes',
    saved(described("'|u1'", '(2, 2)'), 1, 2, 3),
    /3 bytes follow the header, and shape \(2, 2\) has 4/,
  ],
  ['too many bytes', saved(described("'|u1'", '(1,)'), 1, 2), /2 bytes follow the header, and shape \(1\) has 1/],
  ['half a header', saved(described("'|u1'", '(1,)'), 1).subarray(0, 60), /header of the array is damaged/],
  ['another version', saved('').with(6, 9), /version 9 of NumPy's format is not known/],
  ['another file', Buffer.from('PK\x03\x04 an archive'), /this is no array of NumPy/],
])('%s are refused', (_, bytes, message) => {
  expect(() => readNpy(bytes, 'x')).toThrow(message)
  expect(() => readNpy(bytes, 'x')).toThrow(/^x: /)
})

const python = ['/usr/bin/python3', 'python3'].find((name) => spawnSync(name, ['-c', 'import numpy']).status === 0)
if (!python) console.info('npy: skipped, no python3 with NumPy (python3-numpy of Debian)')

describe.skipIf(!python)('NumPy', () => {
  const run = (program: string, ...words: string[]): string =>
    execFileSync(python as string, ['-c', `import sys, io, base64, numpy as np\n${program}`, ...words], {
      encoding: 'utf8',
    }).trim()

  test('writes arrays that are read, of every type of whole numbers, and of every version', () => {
    const lines = run(`
for name in ['u1', 'i1', 'u2', 'i2', 'u4', 'i4', 'u8', 'i8']:
    array = (np.arange(24) - (name[0] == 'i')).astype(name).reshape(4, 3, 2)
    for version in [(1, 0), (2, 0), (3, 0)]:
        out = io.BytesIO()
        np.lib.format.write_array(out, array, version=version)
        print(name, base64.b64encode(out.getvalue()).decode())`).split('\n')
    expect(lines).toHaveLength(24)
    for (const line of lines) {
      const [type = '', text = ''] = line.split(' ')
      const { shape, data } = readNpy(Buffer.from(text, 'base64'), type)
      expect(shape).toEqual([4, 3, 2])
      expect(Array.from(data)).toEqual(Array.from({ length: 24 }, (_, i) => i - (type.startsWith('i') ? 1 : 0)))
    }
  })

  test('reads arrays that are written', () => {
    const numbers = Array.from({ length: 12 }, (_, i) => i * 1_000_003 - 5)
    const shapes = [[12], [3, 4], [2, 3, 2]]
    const arrays = shapes.map((shape) => Buffer.from(writeNpy(shape, Int32Array.from(numbers))).toString('base64'))
    const found = run(
      `
for text in sys.argv[1:]:
    array = np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
    print(array.dtype.str, list(array.shape), array.ravel().tolist())`,
      ...arrays,
    )
    expect(found.split('\n')).toEqual(shapes.map((shape) => `<i4 [${shape.join(', ')}] [${numbers.join(', ')}]`))
  })

  test('writes other arrays, which are refused', () => {
    const arrays = run(`
for array in [np.asfortranarray(np.zeros((3, 2), 'i4')), np.zeros(3, '>i4'), np.array([[1], [2, 3]], dtype='object'), np.zeros(3, 'f4')]:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    print(base64.b64encode(out.getvalue()).decode())`).split('\n')
    const messages = [/Fortran order/, /type ">i4"/, /pickled objects/, /type "<f4"/]
    for (const [i, message] of messages.entries())
      expect(() => readNpy(Buffer.from(arrays[i] ?? '', 'base64'), 'x')).toThrow(message)
  })
})
