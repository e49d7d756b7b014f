/** Checks a row of a record by its header: a row that passes can be counted without further checks. */
import { formatValue } from '../../core/config/problems.ts'
import { RunError } from '../../core/errors.ts'
import type { RecordedRouter, RouteRow, RoutesHeader } from './format.ts'

interface Place {
  readonly header: RoutesHeader
  /** The documents of the header. */
  readonly known: ReadonlySet<number>
  /** The first row of the token; undefined if this row is the first. */
  readonly first: RouteRow | undefined
  /** Index of the router of the row. */
  readonly index: number
}

/** @param where Name of the row in messages. @throws RunError naming field, value and what is accepted */
export function checkRow(value: unknown, where: string, { header, known, first, index }: Place): RouteRow {
  if (typeof value !== 'object' || value === null)
    throw new RunError(`${where} is ${formatValue(value)} (expected an object)`)
  const row = value as RouteRow
  const router = header.routers[index] as RecordedRouter
  const refuse = (field: keyof RouteRow, expected: string) =>
    new RunError(`${where}: invalid ${field}: ${formatValue(row[field])} (expected ${expected})`)
  const { layer, module, experts } = router
  if (row.layer !== layer) throw refuse('layer', `${layer}, in the order of the routers`)
  if (row.module !== module) throw refuse('module', `"${module}", in the order of the routers`)
  if (!known.has(row.document)) throw refuse('document', 'the index of a document in the description')
  if (!isBelow(row.position, Infinity)) throw refuse('position', 'an integer of at least 0')
  if (!isBelow(row.token, header.tokenizer.vocabulary))
    throw refuse('token', `an integer from 0 to ${header.tokenizer.vocabulary - 1}`)
  if (typeof row.text !== 'string') throw refuse('text', 'the text of the token')
  if (first)
    for (const field of ['document', 'position', 'token'] as const)
      if (row[field] !== first[field]) throw refuse(field, `${first[field]}, as in the first row of the token`)
  const problem = expectedExperts(row.experts, router)
  if (problem !== null) throw refuse('experts', problem)
  if (!Array.isArray(row.gates) || row.gates.length !== row.experts.length || !row.gates.every(Number.isFinite))
    throw refuse('gates', `${row.experts.length} numbers, one for each expert`)
  if (row.entropy !== null && !Number.isFinite(row.entropy)) throw refuse('entropy', 'a number, or null')
  if (!isChoice(row.dropped, experts) || !row.dropped.every((expert) => row.experts.includes(expert)))
    throw refuse('dropped', 'some of the chosen experts')
  return row
}

/** The choices that are accepted instead of these; null if they are choices of the router. */
export function expectedExperts(
  list: unknown,
  { experts, prototypes, choices }: Pick<RecordedRouter, 'experts' | 'prototypes' | 'choices'>,
): string | null {
  const some = choices === null ? 'different experts' : `${choices} different experts`
  if (!isChoice(list, experts) || (choices !== null && list.length !== choices))
    return `${some} from 0 to ${experts - 1}`
  if (prototypes > 1 && !isByPrototype(list, experts / prototypes, list.length / prototypes))
    return `as many experts of each of the ${prototypes} prototypes, in their order`
  return null
}

const isBelow = (value: unknown, end: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < end

function isChoice(list: unknown, experts: number): list is readonly number[] {
  if (!Array.isArray(list)) return false
  for (let i = 0; i < list.length; i++) if (!isBelow(list[i], experts) || list.indexOf(list[i]) !== i) return false
  return true
}

const isByPrototype = (experts: readonly number[], size: number, choices: number): boolean =>
  experts.every((expert, i) => Math.floor(expert / size) === Math.floor(i / choices))
