/** Programs cut into stages compute the same results, and the cuts are in the right places. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { add, exp, multiply, negate } from '../ops/elementwise.ts'
import { dispatchRagged } from '../ops/expert.ts'
import { matmul } from '../ops/matmul.ts'
import { reshape } from '../ops/shape.ts'
import { sizeOf } from '../shape.ts'
import { constant, input, scope, type Tensor } from '../tensor.ts'
import type { KernelStage, OnnxStage, StagedModel } from './contract.ts'
import { cut, usesKernels } from './cut.ts'
import { evaluateProgram, kernel, operatorsOf, type Ports, programs, runStages } from './testing/staged-programs.ts'

const x = input('x', 'float32', [2, 3])
const y = input('y', 'float32', [2, 3])
const one = (type: string, inputs: readonly Tensor[], traits = {}): Tensor => kernel(type, inputs, traits)[0] as Tensor

const kernelsIn = ({ stages }: StagedModel): KernelStage[] => stages.filter((stage) => stage.kind === 'kernel')
const onnxIn = ({ stages }: StagedModel): OnnxStage[] => stages.filter((stage) => stage.kind === 'onnx')
const order = ({ stages }: StagedModel): string =>
  stages.map((stage) => (stage.kind === 'kernel' ? stage.type : 'onnx')).join(' ')
const operators = (model: StagedModel): string[] => onnxIn(model).flatMap(({ model: { bytes } }) => operatorsOf(bytes))

/** Runs a program with separate storage for each value. */
function run(model: StagedModel, ports: Ports): Record<string, readonly number[]> {
  const values = new Map<number, readonly number[]>()
  model.inputs.forEach(({ name }, i) => {
    values.set(model.valueOfInput[i] as number, ports[name] as number[])
  })
  model.values.forEach((value, i) => {
    if (value.constant) values.set(i, Array.from(value.constant, Number))
  })
  runStages(model, {
    read(value) {
      const numbers = values.get(value)
      if (!numbers) throw new Error(`value ${value} is read before it is produced`)
      return numbers
    },
    write(value, numbers) {
      if (values.has(value)) throw new Error(`value ${value} is produced twice`)
      values.set(value, numbers)
    },
  })
  return Object.fromEntries(
    model.outputs.map(({ name }, i) => [name, values.get(model.valueOfOutput[i] as number) as number[]]),
  )
}

describe('random programs', () => {
  const ports = { x: [1, -2, 3, 0.5, 4, -1], y: [2, 1, -1, 3, 0.25, 5] }

  test('compute the same results, and produce every value once, before it is read', () => {
    fc.assert(
      fc.property(programs, (program) => {
        const result = run(cut(program), ports)
        const expected = evaluateProgram(program, ports)
        expect(Object.keys(result)).toEqual(Object.keys(expected))
        for (const [name, numbers] of Object.entries(expected))
          numbers.forEach((value, i) => {
            expect(Math.abs((result[name]?.[i] as number) - value)).toBeLessThanOrEqual(1e-9 * Math.abs(value))
          })
      }),
      { numRuns: 300 },
    )
  })

  test('every port has its own value, which is not a constant', () => {
    fc.assert(
      fc.property(programs, (program) => {
        const { valueOfInput, valueOfOutput, values } = cut(program)
        const ports = [...valueOfInput, ...valueOfOutput]
        expect(new Set(ports).size).toBe(ports.length)
        for (const value of ports) expect(values[value]?.constant).toBeUndefined()
      }),
      { numRuns: 200 },
    )
  })

  test('a local kernel neither reads nor writes the memory of a port', () => {
    fc.assert(
      fc.property(programs, (program) => {
        const model = cut(program)
        const ports = new Set([...model.valueOfInput, ...model.valueOfOutput])
        // A kernel stage has the attributes object of its node, so the object identifies the kernel.
        const local = new Set(localKernels(program.outputs))
        for (const { attributes, inputs, outputs } of kernelsIn(model))
          if (local.has(attributes))
            for (const { value } of [...inputs, ...outputs]) expect(ports.has(value)).toBe(false)
      }),
      { numRuns: 300 },
    )
  })

  test('a value has the same number of elements in every stage that uses it', () => {
    fc.assert(
      fc.property(programs, (program) => {
        const { stages, values } = cut(program)
        for (const { inputs, outputs } of stages)
          for (const { value, shape } of [...inputs, ...outputs]) expect(sizeOf(shape)).toBe(values[value]?.size)
      }),
    )
  })

  test('no ONNX stage is empty, and no two follow each other', () => {
    fc.assert(
      fc.property(programs, (program) => {
        const { stages } = cut(program)
        stages.forEach((stage, i) => {
          if (stage.kind !== 'onnx') return
          expect(stage.outputs.length).toBeGreaterThan(0)
          expect(stages[i + 1]?.kind).not.toBe('onnx')
        })
      }),
    )
  })
})

function localKernels(outputs: Readonly<Record<string, Tensor>>): object[] {
  const seen = new Set<object>()
  const visit = ({ source }: Tensor): object[] => {
    if (source.kind !== 'node' || seen.has(source)) return []
    seen.add(source)
    return [...(source.kernel?.local ? [source.attributes] : []), ...source.inputs.flatMap(visit)]
  }
  return Object.values(outputs).flatMap(visit)
}

describe('stages', () => {
  test('a program without kernels is one stage and need not be cut', () => {
    const program = { outputs: { a: negate(exp(x)), b: add(x, y) } }
    expect(usesKernels(program)).toBe(false)
    expect(order(cut(program))).toBe('onnx')
  })

  test('a program of one kernel is one stage', () => {
    const program = { outputs: { a: one('mix', [x, y]) } }
    expect(usesKernels(program)).toBe(true)
    expect(order(cut(program))).toBe('mix')
  })

  test('ONNX nodes wait until a kernel needs one of them, then run as one stage', () => {
    const a = exp(x)
    const b = negate(y)
    const first = one('mix', [x, y])
    const c = exp(first)
    const second = one('mix', [first, a])
    const d = multiply(second, c)
    // a, b and c run before the second kernel, d after it.
    expect(order(cut({ outputs: { b, d } }))).toBe('mix onnx mix onnx')
    // No kernel reads a or c, so all ONNX nodes run at the end.
    const third = one('mix', [first, x])
    expect(order(cut({ outputs: { b, e: multiply(third, c) } }))).toBe('mix mix onnx')
  })

  test('a stage outputs only values that other stages or ports need', () => {
    const inside = exp(x)
    const needed = negate(inside)
    const port = multiply(inside, y)
    const [stage] = onnxIn(cut({ outputs: { k: one('mix', [needed, x]), port } }))
    expect(stage?.outputs).toHaveLength(2)
    expect(stage?.inputs).toHaveLength(2)
  })

  test('kernels keep the op and layer of their origin', () => {
    const product = scope('layers.3.ffn', () => one('mix', [x, y]))
    expect(kernelsIn(cut({ outputs: { product } }))[0]?.origin).toEqual({ op: '', layer: 'layers.3.ffn' })
  })

  test('equal layers have equal bytes', () => {
    const layer = (name: string, from: Tensor) => scope(name, () => exp(one('mix', [from, y])))
    const last = layer('layers.2', layer('layers.1', layer('layers.0', x)))
    const models = onnxIn(cut({ outputs: { last } })).map(({ model }) => Buffer.from(model.bytes).toString('latin1'))
    expect(models).toHaveLength(3)
    expect(new Set(models).size).toBe(1)
  })

  test('a ragged tensor may not leave its stage', () => {
    const index = input('index', 'int32', [4])
    const sizes = input('sizes', 'int64', [3])
    const [piece] = dispatchRagged(x, { tokenOfSlot: index, assignmentOfSlot: index, slotOfAssignment: index, sizes })
    expect(() => cut({ outputs: { y: one('mix', [piece as Tensor, piece as Tensor]) } })).toThrow(/^internal: .*ragged/)
  })
})

describe('reshapes', () => {
  test('between kernels, and between kernels and ports, vanish', () => {
    const flat = reshape(one('mix', [reshape(x, [6]), reshape(y, [6])]), [3, 2])
    const model = cut({ outputs: { z: reshape(one('grow', [flat]), [1, 6]) } })
    expect(order(model)).toBe('mix grow')
    const [mix, grow] = kernelsIn(model)
    expect(mix?.inputs.map(({ shape }) => shape)).toEqual([[6], [6]])
    expect(grow?.inputs).toEqual([{ value: mix?.outputs[0]?.value, shape: [3, 2] }])
    expect(model.outputs[0]?.shape).toEqual([1, 6])
  })

  test('inside a stage remain if two nodes see one value in two shapes', () => {
    const a = exp(one('mix', [x, y]))
    const model = cut({ outputs: { z: multiply(reshape(a, [3, 2]), input('w', 'float32', [3, 2])) } })
    expect(operators(model)).toEqual(['Exp', 'Reshape', 'Mul'])
  })

  test('of a port or of the result of a kernel become an input of the new shape', () => {
    const model = cut({ outputs: { z: add(exp(reshape(one('mix', [x, y]), [6])), reshape(x, [6])) } })
    expect(operators(model)).toEqual(['Exp', 'Add'])
    expect(onnxIn(model)[0]?.inputs.map(({ shape }) => shape)).toEqual([[6], [6]])
  })
})

describe('ports', () => {
  test('an output that is an input, a constant, or a second name is a copy', () => {
    const a = one('mix', [x, y])
    const model = cut({ outputs: { x, five: constant([5, 6], 'float32'), a, again: a, shaped: reshape(a, [6]) } })
    expect(new Set([...model.valueOfInput, ...model.valueOfOutput]).size).toBe(7)
    expect(operators(model).sort()).toEqual(['Identity', 'Identity', 'Identity', 'Identity'])
    expect(kernelsIn(model)[0]?.outputs[0]?.value).toBe(model.valueOfOutput[2])
  })

  test('an input that nothing reads is not a port', () => {
    input('unused', 'float32', [1])
    expect(cut({ outputs: { a: one('mix', [x, x]) } }).inputs.map(({ name }) => name)).toEqual(['x'])
  })

  test('inputs of local kernels and outputs that a port needs are copied once each', () => {
    const traits = { local: true }
    const a = one('mix', [x, y], traits)
    const b = one('mix', [a, x], traits)
    const model = cut({ outputs: { a, b } })
    expect(order(model)).toBe('onnx mix mix onnx')
    expect(operators(model)).toEqual(['Identity', 'Identity', 'Identity', 'Identity'])
  })

  test('a kernel with local outputs reads a port in place, and its outputs are copied to a port', () => {
    const model = cut({ outputs: { a: one('mix', [x, y], { localOutputs: true }) } })
    expect(order(model)).toBe('mix onnx')
    expect(kernelsIn(model)[0]?.inputs.map(({ value }) => value)).toEqual(model.valueOfInput)
    expect(kernelsIn(model)[0]?.outputs[0]?.value).not.toBe(model.valueOfOutput[0])
    expect(operators(model)).toEqual(['Identity'])
  })

  test('an input of a local kernel is not stored in the memory of a port', () => {
    const a = exp(x)
    const b = one('mix', [a, a], { local: true })
    const c = one('mix', [x, y])
    const d = one('mix', [c, c], { local: true })
    const model = cut({ outputs: { a, b, c, d } })
    const ports = new Set(model.valueOfOutput)
    const [fromOnnx, outside, fromKernel] = kernelsIn(model)
    expect([fromOnnx, fromKernel].flatMap((stage) => stage?.inputs.filter(({ value }) => ports.has(value)))).toEqual([])
    expect(outside?.outputs).toHaveLength(1)
  })
})

describe('an addition to the result of a kernel', () => {
  const adds = { addsTo: ['y'] }
  const added = (outputs: Record<string, Tensor>) => kernelsIn(cut({ outputs })).map((stage) => stage.added)

  test('becomes part of a kernel that can add, as left or right operand', () => {
    for (const flip of [false, true]) {
      const product = one('mix', [x, y], adds)
      const model = cut({ outputs: { z: flip ? add(product, x) : add(x, product) } })
      expect(order(model)).toBe('mix')
      const [stage] = kernelsIn(model)
      expect(stage?.added).toEqual([0])
      expect(stage?.inputs.at(-1)?.value).toBe(model.valueOfInput[0])
      expect(stage?.outputs[0]?.value).toBe(model.valueOfOutput[0])
    }
  })

  test('is fused through a reshape too, and to a later output of the kernel', () => {
    const [, second] = kernel('pair', [x, y], { addsTo: ['z'] }) as [Tensor, Tensor]
    const model = cut({ outputs: { z: add(reshape(second, [6]), reshape(x, [6])) } })
    expect(order(model)).toBe('pair')
    expect(kernelsIn(model)[0]?.added).toEqual([1])
  })

  test('to each of two outputs is fused', () => {
    const [first, second] = kernel('pair', [x, y], { addsTo: ['y', 'z'] }) as [Tensor, Tensor]
    const model = cut({ outputs: { a: add(x, first), b: add(second, y) } })
    expect(kernelsIn(model)[0]?.added).toEqual([0, 1])
    expect(
      kernelsIn(model)[0]
        ?.inputs.slice(2)
        .map(({ value }) => value),
    ).toEqual([...model.valueOfInput])
  })

  test('of two kernel results becomes part of the later kernel', () => {
    const [a, b] = [one('mix', [x, y], adds), one('mix', [y, x], adds)]
    expect(added({ z: add(a, b) })).toEqual([[], [0]])
  })

  test('remains if the kernel cannot add to that output', () => {
    expect(added({ z: add(x, one('mix', [x, y])) })).toEqual([[]])
    const [, second] = kernel('pair', [x, y], adds) as [Tensor, Tensor]
    expect(added({ z: add(x, second) })).toEqual([[]])
  })

  test('remains if the result is used elsewhere, or twice, or is a port', () => {
    const used = one('mix', [x, y], adds)
    expect(added({ z: add(x, used), w: exp(used) })).toEqual([[]])
    const twice = one('mix', [x, y], adds)
    expect(added({ z: add(twice, twice) })).toEqual([[]])
    const bound = one('mix', [x, y], adds)
    expect(added({ z: add(x, bound), bound })).toEqual([[]])
  })

  test('remains if the other operand is computed later', () => {
    const product = one('mix', [x, y], adds)
    expect(added({ z: add(exp(x), product) })).toEqual([[]])
    const before = exp(x)
    expect(added({ z: add(before, one('mix', [x, y], adds)) })).toEqual([[0]])
  })

  test('remains if it broadcasts or adds a constant', () => {
    expect(added({ z: add(input('row', 'float32', [3]), one('mix', [x, y], adds)) })).toEqual([[]])
    expect(added({ z: add(constant([1, 2, 3, 4, 5, 6], 'float32', [2, 3]), one('mix', [x, y], adds)) })).toEqual([[]])
  })

  test('remains if the kernel already adds to the same output', () => {
    expect(added({ z: add(y, add(x, one('mix', [x, y], adds))) })).toEqual([[0]])
  })

  test('to a local kernel remains if the other operand or the sum is a port', () => {
    const local = { ...adds, local: true }
    expect(added({ z: add(x, one('mix', [x, y], local)) })).toEqual([[]])
    const before = exp(x)
    expect(added({ z: add(before, one('mix', [x, y], local)) })).toEqual([[]])
    const inner = exp(x)
    expect(added({ z: negate(add(inner, one('mix', [x, y], local))) })).toEqual([[0]])
    const port = exp(x)
    expect(added({ z: negate(add(port, one('mix', [x, y], local))), port })).toEqual([[]])
  })
})

test('a matmul is a kernel only if the runtime has one', () => {
  expect(usesKernels({ outputs: { z: matmul(x, input('w', 'float32', [3, 4])) } })).toBe(false)
})
