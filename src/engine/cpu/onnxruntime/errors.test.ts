import { expect, test } from 'vitest'
import { findOrigin, toRuntimeError } from './errors.ts'

const origins = new Map([
  ['add_1', { op: 'add', layer: 'layers.0' }],
  ['matmul_12', { op: 'matmul', layer: '' }],
  ['add_1_matmul', { op: 'norm', layer: 'head' }],
])

test('a fused node has the origin of the longest node name in its name', () => {
  expect(findOrigin('add_1', origins)?.op).toBe('add')
  expect(findOrigin('fused add_1_matmul/x', origins)?.op).toBe('norm')
  expect(findOrigin('matmul_12/MatMulAddFusion', origins)?.op).toBe('matmul')
})

test('a node name followed by more digits is the name of another node', () => {
  expect(findOrigin('add_12', origins)).toBeUndefined()
  expect(findOrigin('', origins)).toBeUndefined()
})

test.each([
  [
    "Non-zero status code returned while running Add node. Name:'add_1' Status Message: bad",
    'failed to run in add of layers.0: bad',
  ],
  ['Something else', 'failed to run: Something else'],
  ["while running MatMul node. Name:'matmul_12' Status Message: std::bad_alloc", 'out of memory in matmul ('],
])('the message "%s" is reported by op and layer', (message, expected) => {
  expect(toRuntimeError({ code: 1, message }, origins, 'run').message).toContain(expected)
})

test('an allocation failure reports the requested size', () => {
  const message = 'Failed to allocate memory for requested buffer of size 1073741824'
  expect(toRuntimeError({ code: 6, message }, origins, 'run').message).toMatch(
    /^out of memory: cannot allocate another 1024 MiB/,
  )
})
