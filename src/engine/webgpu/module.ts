/** The WGSL module of a dispatch: declarations of its operands and its code. */
import type { Dispatch, ElementType, MemoryType } from './kernels/contract.ts'

const elementOf: Readonly<Record<MemoryType, ElementType>> = {
  float16: 'f16',
  float32: 'f32',
  float64: 'f32',
  int32: 'i32',
  int64: 'i32',
  bool: 'i32',
}

/** @param bindings The binding of each operand, numbered from 0; operands in the same memory have the same binding. */
export function moduleOf(dispatch: Dispatch, bindings: readonly number[]): string {
  const names = bindings.map((binding) => `b${binding}`)
  const declarations = new Map<number, string>()
  dispatch.operands.forEach(({ of, as }, i) => {
    const binding = bindings[i] as number
    const type = as ?? elementOf[of.dtype]
    const declaration = `@group(0) @binding(${binding}) var<storage, read_write> b${binding}: array<${type}>;`
    const known = declarations.get(binding)
    if (known !== undefined && known !== declaration)
      throw new Error(`internal: ${dispatch.name} uses the same memory as ${known} and as ${type}`)
    declarations.set(binding, declaration)
  })
  const module = `${[...declarations.values()].join('\n')}\n${dispatch.code(names)}`
  return /\bf16\b/.test(module) ? `enable f16;\n${module}` : module
}
