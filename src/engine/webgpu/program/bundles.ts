/**
 * Puts small groups that do not need each other into one dispatch, each with workgroups of its own. A device starts and
 * ends a dispatch in the time in which it computes tens of thousands of numbers, and runs one dispatch at a time.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import type { Tensor } from '../../../core/graph/tensor.ts'
import { type Bundle, type Group, type Item, type KernelItem, MAX_BUNDLED, MAX_OPERANDS } from './groups.ts'

interface Place {
  groups: Group[]
  readonly kernel: KernelItem | null
}

/**
 * @param items Items in a valid order. The order stays valid: a group moves to an earlier group if everything that it
 * needs comes before that group, or an earlier group moves to it if nothing in between needs the earlier group.
 * @param needs The items that each item needs. @param operandsOf Tensors with memory that a group reads or writes.
 */
export function bundled(
  items: readonly Item[],
  needs: ReadonlyMap<Item, ReadonlySet<Item>>,
  operandsOf: (group: Group) => Iterable<Tensor>,
): (Bundle | KernelItem)[] {
  const readers = new Map<Item, Item[]>()
  for (const [item, needed] of needs) for (const each of needed) readers.set(each, [...(readers.get(each) ?? []), item])
  const places = items.map(
    (item): Place => (item.kind === 'kernel' ? { groups: [], kernel: item } : { groups: [item], kernel: null }),
  )
  const operands = new Map(items.map((item) => [item, item.kind === 'group' ? [...operandsOf(item)] : []]))
  const isSmall = (group: Group) => operands.get(group)?.every(({ shape }) => sizeOf(shape) <= MAX_BUNDLED)
  const fits = (groups: readonly Group[]) =>
    new Set(groups.flatMap((group) => operands.get(group) ?? [])).size <= MAX_OPERANDS
  const placeOf = new Map(items.map((item, i) => [item, i]))
  const at = (item: Item): number => placeOf.get(item) as number
  const move = (from: number, to: number) => {
    const [source, target] = [places[from] as Place, places[to] as Place]
    for (const group of source.groups) placeOf.set(group, to)
    target.groups = [...target.groups, ...source.groups]
    source.groups = []
  }
  const join = (place: number): void => {
    const mine = places[place] as Place
    const isCandidate = ({ groups }: Place) => groups.length > 0 && groups.every(isSmall)
    if (!isCandidate(mine)) return
    for (let earlier = 0; earlier < place; earlier++) {
      const other = places[earlier] as Place
      if (!isCandidate(other) || !fits([...other.groups, ...mine.groups])) continue
      const lastNeeded = Math.max(-1, ...mine.groups.flatMap((group) => [...(needs.get(group) ?? [])]).map(at))
      if (lastNeeded < earlier) {
        move(place, earlier)
        return
      }
      const firstReader = Math.min(...other.groups.flatMap((group) => readers.get(group) ?? []).map(at))
      if (firstReader > place) move(earlier, place)
    }
  }
  for (const place of places.keys()) join(place)
  return places.flatMap(({ groups, kernel }) => kernel ?? (groups.length > 0 ? { kind: 'bundle', groups } : []))
}
