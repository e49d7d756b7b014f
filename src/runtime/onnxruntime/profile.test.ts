import { expect, test } from 'vitest'
import { sumByNode } from './profile.ts'

const event = (name: string, kind: string, microseconds: number) =>
  `{"cat" : "Node","pid" :1,"tid" :1,"dur" :${microseconds},"ts" :5,"ph" : "X","name" :"${name}","args" : {"op_name" : "${kind}"}},`

const provider = 'ONNX Runtime'

const origins = new Map([
  ['a', { op: 'matmul', layer: 'layers.0' }],
  ['b', { op: 'add', layer: 'layers.0' }],
])

test('kernel times add up by node, slowest first, and other events do not count', () => {
  const trace = [
    '[',
    '{"cat" : "Session","pid" :1,"tid" :1,"dur" :999,"ts" :5,"ph" : "X","name" :"model_run","args" : {}},',
    event('a_kernel_time', 'MatMul', 5),
    event('b_kernel_time', 'Add', 20),
    event('a_kernel_time', 'MatMul', 6),
    event('a_fence_before', 'MatMul', 50),
    ']',
  ]
  expect(sumByNode(trace, origins)).toEqual([
    { kind: 'Add', provider, op: 'add', layer: 'layers.0', runs: 1, microseconds: 20 },
    { kind: 'MatMul', provider, op: 'matmul', layer: 'layers.0', runs: 2, microseconds: 11 },
  ])
})

test('a node that only ONNX Runtime knows is told by its kind', () => {
  expect(sumByNode([event('xyz_kernel_time', 'MemcpyToHost', 3)], new Map())).toEqual([
    { kind: 'MemcpyToHost', provider, op: 'MemcpyToHost', layer: '', runs: 1, microseconds: 3 },
  ])
})
