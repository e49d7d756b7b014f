/**
 * Decides which values are in memory as f16 with `math: f16`: factors and results of products, of experts and of
 * attention, activations between them, and the gradients of all these.
 *
 * Think of it as a largest set. Candidates are all floats that a map writes, or that a kernel can write as f16
 * (`Kernel.halves`). A candidate is dropped if something reads it that needs float32: a kernel that does not list the
 * operand, a reduction, or a map whose own result is float32. So values that flow into a softmax, the statistics of a
 * norm, the choice of experts, the loss, or a port, which is float32 in memory outside the program, stay float32, and
 * with them the residual stream. A map is dropped if it reads nothing that is f16, because it is then no activation
 * between products. Operands of a kernel that moves numbers as they are (`Halves.same`) are dropped together.
 */

import type { Halves } from '../../../core/graph/stages/contract.ts'
import type { Node, Tensor } from '../../../core/graph/tensor.ts'
import { dataInputs, isReduction } from '../codegen/maps.ts'
import type { Kernel } from '../kernels/contract.ts'
import type { Fusion } from './fusion.ts'
import type { Bundle, KernelItem, Root } from './groups.ts'

/**
 * A node with an operator of ONNX does not list names of operands. Its operands are float32: programs for generation
 * consist of such nodes, and are float32 throughout.
 */
const ofKernel = ({ type, kernel }: Node, kernels: Readonly<Record<string, Kernel>>): Halves =>
  (kernel && kernels[type]?.halves) ?? { inputs: [], outputs: [] }

const includes = (names: readonly string[], name: string | undefined): boolean =>
  name !== undefined && names.includes(name)

const rootsOf = ({ groups }: Bundle): Root[] => groups.flatMap(({ roots }) => roots)

/** @param outputs Outputs of the program. */
export function halvesOf(
  fusion: Fusion,
  kernels: Readonly<Record<string, Kernel>>,
  outputs: Iterable<Tensor>,
): ReadonlySet<Tensor> {
  const halves = new Set<Tensor>()
  const resultsOf = (item: Bundle | KernelItem): Tensor[] =>
    item.kind === 'bundle'
      ? rootsOf(item)
          .filter(({ node }) => !isReduction(node))
          .map(({ node, output }) => fusion.tensors.of(node, output))
      : item.node.outputs
          .map((_, output) => fusion.tensors.of(item.node, output))
          .filter(({ output }) => includes(ofKernel(item.node, kernels).outputs, item.node.kernel?.outputs[output]))
  for (const item of fusion.items)
    for (const tensor of resultsOf(item)) if (tensor.dtype === 'float32') halves.add(tensor)
  for (const tensor of outputs) halves.delete(fusion.tensors.unique(tensor))

  const dropOperandsOf = ({ node }: KernelItem): void => {
    const { inputs } = ofKernel(node, kernels)
    for (const [i, tensor] of dataInputs(node).entries())
      if (inputs !== 'all' && !includes(inputs, node.kernel?.inputs[i])) halves.delete(fusion.tensors.unique(tensor))
  }
  const dropIn = (bundle: Bundle): void => {
    for (const { node, output, leaves } of rootsOf(bundle)) {
      const result = fusion.tensors.of(node, output)
      if (![...leaves].some((leaf) => halves.has(leaf))) halves.delete(result)
      if (!halves.has(result)) for (const leaf of leaves) halves.delete(leaf)
    }
  }
  /** Drops all operands of a kernel that moves numbers as they are, if one of them is dropped. */
  const dropUnequal = (item: KernelItem): void => {
    const { inputs, same } = ofKernel(item.node, kernels)
    if (!same) return
    const read = dataInputs(item.node).filter((_, i) =>
      includes(inputs as readonly string[], item.node.kernel?.inputs[i]),
    )
    const all = [...read.map((tensor) => fusion.tensors.unique(tensor)), ...resultsOf(item)]
    if (!all.every((tensor) => halves.has(tensor))) for (const tensor of all) halves.delete(tensor)
  }
  for (let before = -1; before !== halves.size; ) {
    before = halves.size
    for (const item of fusion.items) {
      if (item.kind === 'bundle') dropIn(item)
      else {
        dropOperandsOf(item)
        dropUnequal(item)
      }
    }
  }
  return halves
}
