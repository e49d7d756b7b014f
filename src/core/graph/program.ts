/** A program: the graph that computes named outputs. Its inputs are the inputs that the outputs depend on. */
import type { Input, Node, Tensor } from './tensor.ts'

export interface Program {
  /** Results by name, in order. Each is bound to memory when the program is run. */
  readonly outputs: Readonly<Record<string, Tensor>>
}

/** The live nodes of a program, in a valid order of computation, and its inputs. Dead code is left out. */
export interface Reachable {
  readonly nodes: readonly Node[]
  readonly inputs: readonly (Tensor & { readonly source: Input })[]
}

/** Collects everything that the outputs depend on. */
export function reach(program: Program): Reachable {
  const nodes: Node[] = []
  const inputs = new Map<string, Tensor & { readonly source: Input }>()
  const seen = new Set<Node>()
  // The stack is explicit, because a deep model would overflow the call stack.
  for (const output of Object.values(program.outputs)) {
    const stack: { tensor: Tensor; entered: boolean }[] = [{ tensor: output, entered: false }]
    for (let top = stack.pop(); top; top = stack.pop()) {
      const { source } = top.tensor
      if (source.kind === 'input') {
        const known = inputs.get(source.name)
        if (known && known.source !== source)
          throw new Error(`two inputs are called ${source.name} (every input needs a name of its own)`)
        inputs.set(source.name, { ...top.tensor, source })
      } else if (source.kind === 'node') {
        if (top.entered) nodes.push(source)
        else if (!seen.has(source)) {
          seen.add(source)
          stack.push({ tensor: top.tensor, entered: true })
          for (const needed of source.inputs.toReversed()) stack.push({ tensor: needed, entered: false })
        }
      }
    }
  }
  return { nodes, inputs: [...inputs.values()] }
}
