/**
 * The dispatch of a bundle of groups: WGSL for all of their roots. Each group is a function, and has workgroups of its own.
 *
 * Without reductions each invocation computes one element of every root. With reductions, a number of *lanes* share a
 * row: they go over its elements once for each reduction, add up in workgroup memory, and then go over them
 * once more for results of the size of the elements.
 */
import { dim, sizeOf } from '../../../core/graph/shape.ts'
import type { Tensor } from '../../../core/graph/tensor.ts'
import { literal, patternOf, valueType } from '../codegen/literals.ts'
import { elementOf, isMap, isReduction } from '../codegen/maps.ts'
import { divided, flatOf, keyOf, type Position } from '../codegen/position.ts'
import { Writer } from '../codegen/writer.ts'
import { rowsOf, WORKGROUP, type Workgroups } from '../kernels/contract.ts'
import { erfCode } from '../kernels/math.ts'
import type { Fusion } from './fusion.ts'
import type { Bundle, Group, Space } from './groups.ts'

export interface GroupDispatch {
  readonly name: string
  /** Tensors with memory: first the tensors that the dispatch reads, then the tensors that it writes. */
  readonly operands: readonly Tensor[]
  readonly workgroups: Workgroups
  readonly code: (names: readonly string[]) => string
}

/** @param halves Tensors that are f16 in memory. */
export function groupDispatch({ groups }: Bundle, fusion: Fusion, halves: ReadonlySet<Tensor>): GroupDispatch {
  const all = groups.map((group) => ({ group, ...fusion.operandsOf(group), workgroups: workgroupsOf(group.space) }))
  const [read, written] = [all.flatMap(({ read }) => [...read]), all.flatMap(({ written }) => [...written])]
  const operands = [...new Set([...read, ...written])]
  const total = all.reduce((sum, { workgroups }) => sum + workgroups, 0)
  return {
    name: nameOf(groups),
    operands,
    workgroups: rowsOf(total),
    code: (names) => {
      const nameOfTensor = new Map(operands.map((tensor, i) => [tensor, names[i] as string]))
      const parts = all.map(({ group, written }) =>
        new GroupWriter(group, fusion, nameOfTensor, written, halves).code(),
      )
      return moduleOfParts(
        parts,
        all.map(({ workgroups }) => workgroups),
      )
    },
  }
}

const workgroupsOf = (space: Space): number =>
  Math.ceil(space.width === 1 ? space.rows / WORKGROUP : space.rows / (WORKGROUP / lanesFor(space)))

/**
 * A module of several parts: the bodies of functions of workgroup and invocation, with the number of workgroups of
 * each.
 */
function moduleOfParts(bodies: readonly string[], workgroups: readonly number[]): string {
  const types = ['f32', 'i32'].filter((type) => bodies.some((body) => body.includes(`partial_${type}[`)))
  const partials = types.map((type) => `var<workgroup> partial_${type}: array<${type}, ${WORKGROUP}>;`)
  const functions = bodies.map((body, i) => `fn part_${i}(group: u32, local: u32) {\n${body}\n}`)
  let first = 0
  const calls = workgroups.map((count, i) => {
    const call = `part_${i}(number - ${first}u, local);`
    first += count
    return i === workgroups.length - 1 ? `{ ${call} }` : `if (number < ${first}u) { ${call} } else`
  })
  return `${bodies.some((body) => body.includes('erf(')) ? erfCode('f32') : ''}
${partials.join('\n')}
${functions.join('\n')}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = group.y * groups.x + group.x;
  ${calls.join('\n  ')}
}`
}

/** The ops of groups, for profiles. */
const nameOf = (groups: readonly Group[]): string =>
  [...new Set(groups.flatMap(({ roots }) => roots.map(({ node }) => node.origin.op || node.type)))].join('+')

/** Number of rows of a workgroup that lie side by side, so that it reads whole lines of a cache. */
const SIDE_BY_SIDE = 8

/**
 * Number of lanes of a row, so that neighbours read neighbouring elements. It is one, without barriers, for narrow
 * rows, and for many rows that lie side by side.
 */
function lanesFor({ rows, width, across }: Space): number {
  if (width <= 8 || (across && width <= 64 && rows >= 4096)) return 1
  const most = across ? WORKGROUP / SIDE_BY_SIDE : WORKGROUP
  let lanes = 4
  while (lanes < most && lanes * 4 < width) lanes *= 2
  return lanes
}

class GroupWriter {
  private readonly group: Group
  private readonly fusion: Fusion
  private readonly names: ReadonlyMap<Tensor, string>
  private readonly written: ReadonlySet<Tensor>
  private readonly halves: ReadonlySet<Tensor>
  private readonly writer = new Writer()
  private readonly ids = new Map<object, number>()

  constructor(
    group: Group,
    fusion: Fusion,
    names: ReadonlyMap<Tensor, string>,
    written: ReadonlySet<Tensor>,
    halves: ReadonlySet<Tensor>,
  ) {
    this.halves = halves
    this.group = group
    this.fusion = fusion
    this.names = names
    this.written = written
  }

  /** The body of a function of `group` and `local`. */
  code(): string {
    if (this.group.space.width === 1) this.elements()
    else this.rows()
    return this.writer.text
  }

  private elements(): void {
    const { writer } = this
    const index = writer.let(`i32(group * ${WORKGROUP}u + local)`)
    writer.line(`if (${index} >= ${this.group.space.rows}) { return; }`)
    this.store(this.group.roots, (shape) => ({ shape, flat: index }))
  }

  private rows(): void {
    const { group, writer } = this
    const { rows, width, across } = group.space
    const lanes = lanesFor(group.space)
    const perGroup = WORKGROUP / lanes
    // Neighbours read neighbouring elements of the same row, or of neighbouring rows that lie side by side.
    const [row, lane] = across
      ? [`local % ${perGroup}u`, `local / ${perGroup}u`]
      : [`local / ${lanes}u`, `local % ${lanes}u`]
    writer.line(`let row = i32(group * ${perGroup}u + ${row});`)
    writer.line(`let lane = i32(${lane});`)
    writer.line(`let inside = row < ${rows};`)
    const isRow = (tensor: Tensor) => sizeOf(tensor.shape) === rows
    const rowPosition = (shape: readonly number[]): Position => ({ shape, flat: 'row' })
    const each = (body: (position: (shape: readonly number[]) => Position) => void) =>
      writer.block(`if (inside)`, () => {
        writer.block(`for (var column = lane; column < ${width}; column += ${lanes})`, () =>
          body(this.elementPosition()),
        )
      })
    for (const { node, output } of group.roots) {
      if (!isReduction(node)) continue
      const [x] = node.inputs as [Tensor]
      const type = valueType[x.dtype]
      const isSum = node.type === 'ReduceSum'
      const lowest = x.dtype === 'float32' ? literal(Number.NEGATIVE_INFINITY, x.dtype) : '-2147483647'
      const sum = writer.variable(type, isSum ? literal(0, x.dtype) : lowest)
      each((position) => {
        const value = this.at(x, position(x.shape))
        writer.line(isSum ? `${sum} += ${value};` : `${sum} = max(${sum}, ${value});`)
      })
      const total = lanes === 1 ? sum : this.addLanes(sum, type, lanes, isSum, across !== null)
      writer.remember(this.keyOfReduction(this.fusion.tensors.of(node, output)), total)
    }
    const [ofRows, ofElements] = [
      group.roots.filter((root) => isRow(this.result(root))),
      group.roots.filter((root) => !isRow(this.result(root))),
    ]
    if (ofRows.some((root) => this.written.has(this.result(root))))
      writer.block(lanes === 1 ? 'if (inside)' : 'if (inside && lane == 0)', () => this.store(ofRows, rowPosition))
    if (ofElements.some((root) => this.written.has(this.result(root))))
      each((position) => this.store(ofElements, position))
  }

  /** The position of the element of a row at `column`. */
  private elementPosition(): (shape: readonly number[]) => Position {
    const { writer } = this
    const { rows, width, across } = this.group.space
    if (!across) {
      const flat = writer.let(`row * ${width} + column`)
      return (shape) => ({ shape, flat, ...this.splitDims(shape, rows) })
    }
    const { shape, axes } = across
    const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size))
    const reduced = shape.map((size, axis) => (axes.includes(axis) ? size : 1))
    const [outer, inner] = [divided('row', kept, writer), divided('column', reduced, writer)]
    const dims = shape.map((_, axis) => (axes.includes(axis) ? inner[axis] : outer[axis]) as string)
    return (of) => {
      if (String(of) !== String(shape)) throw new Error(`internal: a group over rows of [${shape}] reads [${of}]`)
      return { shape, dims }
    }
  }

  /** Indices by dimension where the last dimensions are exactly a row. */
  private splitDims(shape: readonly number[], rows: number): { readonly dims?: readonly string[] } {
    let axis = 0
    for (let product = 1; axis < shape.length && product < rows; axis++) product *= dim(shape, axis)
    const [outer, inner] = [shape.slice(0, axis), shape.slice(axis)]
    if (sizeOf(outer) !== rows) return {}
    return { dims: [...divided('row', outer, this.writer), ...divided('column', inner, this.writer)] }
  }

  /** Adds up the sums of the lanes of each row, in a tree; every lane gets the total. */
  private addLanes(sum: string, type: string, lanes: number, isSum: boolean, across: boolean): string {
    const { writer } = this
    const array = `partial_${type}`
    const stride = across ? WORKGROUP / lanes : 1
    writer.line(`${array}[local] = ${sum};`)
    writer.line('workgroupBarrier();')
    for (let half = lanes / 2; half >= 1; half /= 2) {
      const other = `${array}[local + ${half * stride}u]`
      writer.line(
        `if (lane < ${half}) { ${array}[local] = ${isSum ? `${array}[local] + ${other}` : `max(${array}[local], ${other})`}; }`,
      )
      writer.line('workgroupBarrier();')
    }
    const first = across ? `local % ${stride}u` : `local - local % ${lanes}u`
    const total = writer.variable(type, `${array}[${first}]`)
    writer.line('workgroupBarrier();')
    return total
  }

  private store(roots: Group['roots'], position: (shape: readonly number[]) => Position): void {
    const { writer } = this
    // All elements are read before any is written, because a result may lie in the memory of an operand.
    const values = roots.map((root) => {
      const tensor = this.result(root)
      if (!this.written.has(tensor)) return null
      const at = position(tensor.shape)
      return { tensor, at, value: this.at(tensor, at) }
    })
    for (const each of values) {
      if (!each) continue
      const { tensor, at, value } = each
      writer.line(`${this.names.get(tensor)}[${flatOf(at, writer)}] = ${this.stored(tensor, value)};`)
    }
  }

  /** WGSL that converts a value to an element in memory. */
  private stored(tensor: Tensor, value: string): string {
    if (tensor.dtype === 'bool') return `select(0, 1, ${value})`
    return this.halves.has(tensor) ? `f16(${value})` : value
  }

  /** WGSL that converts an element in memory to a value. */
  private loaded(tensor: Tensor, element: string): string {
    if (tensor.dtype === 'bool') return `${element} != 0`
    return this.halves.has(tensor) ? `f32(${element})` : element
  }

  private result({ node, output }: Group['roots'][number]): Tensor {
    return this.fusion.tensors.of(node, output)
  }

  /** A name for an element. */
  private at(tensor: Tensor, position: Position): string {
    const { writer, fusion, group } = this
    const { source, dtype, output } = tensor
    const unique = fusion.tensors.unique(tensor)
    if (unique.source.kind === 'constant') {
      const pattern = patternOf(unique.source.data)
      if (pattern && 'all' in pattern) return literal(pattern.all, dtype)
      if (pattern) {
        const count = `${pattern.first} + ${flatOf(position, writer)} * ${pattern.step}`
        return writer.let(dtype === 'float32' ? `f32(${count})` : count)
      }
    }
    if (source.kind === 'node' && this.isComputed(tensor)) {
      if (isReduction(source)) return writer.recall(this.keyOfReduction(unique)) as string
      const key = `${this.idOf(source)}.${output}@${keyOf(position)}`
      const known = writer.recall(key)
      if (known !== undefined) return known
      const at = (operand: Tensor, where: Position) => this.at(operand, where)
      const name = writer.let(elementOf({ node: source, output, position, writer, at }))
      writer.remember(key, name)
      return name
    }
    const name = this.names.get(unique)
    if (name === undefined) throw new Error(`internal: no operand for ${nameOf([group])}`)
    return writer.let(this.loaded(unique, `${name}[${flatOf(position, writer)}]`))
  }

  /** Whether this group computes the tensor: it is inlined, a reshape, or a root of the group. */
  private isComputed(tensor: Tensor): boolean {
    const { fusion, group } = this
    const { source } = tensor
    if (source.kind !== 'node') return false
    const unique = fusion.tensors.unique(tensor)
    if (unique.source !== source && isMap(source)) return this.isComputed(unique)
    return (
      fusion.isInlined(unique) || group.roots.some(({ node, output }) => node === source && output === tensor.output)
    )
  }

  private idOf(of: object): number {
    const id = this.ids.get(of) ?? this.ids.size
    this.ids.set(of, id)
    return id
  }

  private keyOfReduction(tensor: Tensor): string {
    return `reduction ${this.idOf(tensor)}`
  }
}
