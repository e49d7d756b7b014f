/**
 * Finds results of kernels that are only multiplied by a constant, which the kernel can do itself. Constants must be
 * powers of two, with which the result has the same bits.
 */
import type { Node, Tensor } from '../../../core/graph/tensor.ts'
import { patternOf } from '../codegen/literals.ts'
import { baseOf, dataInputs, isAlias } from '../codegen/maps.ts'
import type { Kernel } from '../kernels/contract.ts'

export interface Scales {
  /** Factors of a kernel's results, by name. */
  readonly ofKernel: ReadonlyMap<Node, Readonly<Record<string, number>>>
  /** Multiplications that kernels do, each with the result of the kernel that it multiplies. */
  readonly done: ReadonlyMap<Node, Tensor>
}

export function findScales(
  nodes: readonly Node[],
  outputs: readonly Tensor[],
  kernels: Readonly<Record<string, Kernel>>,
): Scales {
  const key = ({ source, output }: Tensor) => `${source.kind === 'node' ? source.serial : ''}.${output}`
  const readers = new Map<string, number>()
  const count = (tensor: Tensor) => readers.set(key(baseOf(tensor)), (readers.get(key(baseOf(tensor))) ?? 0) + 1)
  for (const node of nodes) if (!isAlias(node)) dataInputs(node).forEach(count)
  outputs.forEach(count)

  const ofKernel = new Map<Node, Readonly<Record<string, number>>>()
  const done = new Map<Node, Tensor>()
  for (const node of nodes) {
    if (node.type !== 'Mul' || node.domain !== '') continue
    const [a, b] = node.inputs as [Tensor, Tensor]
    for (const [x, by] of [
      [a, b],
      [b, a],
    ] as const) {
      const { source, output } = baseOf(x)
      const factor = powerOfTwo(by)
      const name = source.kind === 'node' ? source.kernel?.outputs[output] : undefined
      if (factor === null || source.kind !== 'node' || name === undefined) continue
      if (!kernels[source.type]?.scales?.includes(name) || readers.get(key(baseOf(x))) !== 1) continue
      ofKernel.set(source, { ...ofKernel.get(source), [name]: factor })
      done.set(node, x)
      break
    }
  }
  return { ofKernel, done }
}

/** The value of a constant scalar, if it is a power of two. */
function powerOfTwo({ source, shape }: Tensor): number | null {
  const pattern = source.kind === 'constant' && shape.length === 0 ? patternOf(source.data) : null
  const value = pattern && 'all' in pattern ? pattern.all : 0
  return value > 0 && Number.isInteger(Math.log2(value)) ? value : null
}
