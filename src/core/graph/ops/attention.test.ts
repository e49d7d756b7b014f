import { expect, test } from 'vitest'
import { toOnnx } from '../onnx.ts'
import { input } from '../tensor.ts'
import { causalAttention } from './attention.ts'

test('a program with attention grows with the sequence, not with its square', () => {
  const size = (sequence: number, documents: boolean) => {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => input(name, 'float32', [1, 1, sequence, 2]))
    if (!q || !k || !v) throw new Error('three inputs')
    const first = documents ? [input('first', 'int32', [sequence])] : []
    return toOnnx({ outputs: { y: causalAttention(q, k, v, 1, ...first) } }).bytes.length
  }
  for (const documents of [false, true]) expect(size(100_000, documents)).toBeLessThan(20 * 100_000)
})
