/**
 * Fuses additions into kernels: x + kernel(...) becomes kernel(..., x) if the kernel can add to that output, and nothing
 * else reads the result without x.
 */

import { sameShape, sizeOf } from '../../../core/graph/shape.ts'
import { constant, emit, type Node, type Tensor, withOrigin } from '../../../core/graph/tensor.ts'
import { baseOf, dataInputs, isAlias } from '../codegen/maps.ts'
import type { DeviceNode, OrderedProgram } from './rewrite.ts'

interface Addend {
  readonly output: number
  readonly addition: Node
  readonly other: Tensor
}

export function fuseAddends(program: OrderedProgram): OrderedProgram {
  const addends = findAddends(program)
  const kernelOf = new Map(
    [...addends].flatMap(([kernel, all]) => all.map(({ addition, output }) => [addition, { kernel, output }])),
  )
  const rebuilt = new Map<Node, readonly Tensor[]>()
  const of = (tensor: Tensor): Tensor =>
    tensor.source.kind === 'node' ? (rebuilt.get(tensor.source)?.[tensor.output] as Tensor) : tensor
  const nodes = program.nodes.map((node): DeviceNode => {
    const fused = kernelOf.get(node)
    if (fused) {
      const { shape } = node.outputs[0] as Tensor
      const sum = rebuilt.get(fused.kernel)?.[fused.output] as Tensor
      const alias = withOrigin(node.origin, () => emit('Reshape', [sum, constant(shape, 'int64')], { shape }))
      rebuilt.set(node, [alias])
      return alias.source as Node
    }
    const own = addends.get(node) ?? []
    const inputs = [...node.inputs, ...own.map(({ other }) => other)].map(of)
    const source: DeviceNode = {
      ...node,
      inputs,
      ...(own.length > 0 && { added: own.map(({ output }) => node.kernel?.outputs[output] as string) }),
    }
    rebuilt.set(
      node,
      node.outputs.map(({ dtype, shape }, output) => ({ dtype, shape, source, output })),
    )
    return source
  })
  const outputs = Object.entries(program.outputs).map(([name, tensor]) => [name, of(tensor)])
  return { nodes, outputs: Object.fromEntries(outputs) }
}

function findAddends({ nodes, outputs }: OrderedProgram): Map<Node, Addend[]> {
  const place = new Map(nodes.map((node, i) => [node, i]))
  const placeOf = ({ source }: Tensor): number => (source.kind === 'node' ? (place.get(source) as number) : -1)
  const key = (tensor: Tensor) => `${placeOf(tensor)}.${tensor.output}`
  const readers = new Map<string, number>()
  const count = (tensor: Tensor) => readers.set(key(baseOf(tensor)), (readers.get(key(baseOf(tensor))) ?? 0) + 1)
  for (const node of nodes) if (!isAlias(node)) for (const tensor of dataInputs(node)) count(tensor)
  for (const tensor of Object.values(outputs)) count(tensor)

  const found = new Map<Node, Addend[]>()
  for (const node of nodes) {
    if (node.type !== 'Add' || node.domain !== '') continue
    const [a, b] = node.inputs as [Tensor, Tensor]
    if (!sameShape(a.shape, b.shape)) continue
    for (const [summand, other] of [
      [b, a],
      [a, b],
    ] as const) {
      const { source: kernel, output, shape } = baseOf(summand)
      if (kernel.kind !== 'node' || !kernel.kernel?.addsTo.includes(output) || sizeOf(shape) === 0) continue
      const known = found.get(kernel) ?? []
      const isReady = placeOf(baseOf(other)) < (place.get(kernel) as number)
      if (readers.get(key(baseOf(summand))) !== 1 || !isReady || known.some((each) => each.output === output)) continue
      found.set(kernel, [...known, { output, addition: node, other }])
      break
    }
  }
  return found
}
