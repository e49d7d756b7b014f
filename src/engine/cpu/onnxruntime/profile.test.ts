import { expect, test } from 'vitest'
import { readRecording } from './profile.ts'

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
  expect(readRecording(trace, origins).nodes).toEqual([
    { kind: 'Add', provider, op: 'add', layer: 'layers.0', runs: 1, microseconds: 20 },
    { kind: 'MatMul', provider, op: 'matmul', layer: 'layers.0', runs: 2, microseconds: 11 },
  ])
})

test('a node without an origin is reported by its kind', () => {
  expect(readRecording([event('xyz_kernel_time', 'MemcpyToHost', 3)], new Map()).nodes).toEqual([
    { kind: 'MemcpyToHost', provider, op: 'MemcpyToHost', layer: '', runs: 1, microseconds: 3 },
  ])
})

test('the nodes of the last run have times from its start', () => {
  const at = (name: string, ts: number, dur: number) =>
    `{"cat" : "x","dur" :${dur},"ts" :${ts},"ph" : "X","name" :"${name}","args" : {"op_name" : "MatMul"}},`
  const run = (ts: number) => [
    at('a_kernel_time', ts + 10, 5),
    at('b_kernel_time', ts + 16, 30),
    at('model_run', ts, 50),
  ]
  const { runs, last } = readRecording([...run(1000), ...run(7000)], origins)
  expect(runs).toBe(2)
  expect(last).toEqual([
    { thread: 0, name: 'MatMul', op: 'matmul', layer: 'layers.0', begin: 0.01, end: 0.015 },
    { thread: 0, name: 'MatMul', op: 'add', layer: 'layers.0', begin: 0.016, end: 0.046 },
  ])
})

test.each([
  // 4 · 64 · 16 results of 32 products each; either side may be transposed.
  ['MatMul', [4, 64, 32], [4, 64, 16], { flops: 2 * 4 * 64 * 16 * 32, bytes: 11_100 }],
  ['FusedMatMul', [4, 32, 64], [4, 64, 16], { flops: 2 * 4 * 64 * 16 * 32, bytes: 11_100 }],
  ['Add', [64], [64], { bytes: 11_100 }],
  // Gather reads no more of its table than it writes.
  ['Gather', [4096, 64], [2, 64], { bytes: 2000 }],
  ['Reshape', [64], [8, 8], {}],
])('the work of %s follows from its shapes', (kind, a, c, work) => {
  const args = {
    op_name: kind,
    input_type_shape: [{ float: a }],
    output_type_shape: [{ float: c }],
    activation_size: '10000',
    parameter_size: '100',
    output_size: '1000',
  }
  const line = JSON.stringify({ name: 'n_kernel_time', ts: 0, dur: 1, args })
  const [node] = readRecording([line, line], new Map()).nodes
  const twice = Object.fromEntries(Object.entries(work).map(([name, value]) => [name, 2 * value]))
  const { flops, bytes } = node ?? {}
  expect({ ...(flops !== undefined && { flops }), ...(bytes !== undefined && { bytes }) }).toEqual(twice)
})
