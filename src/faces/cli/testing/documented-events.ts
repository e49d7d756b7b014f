/** The fields of the lines of `--json` that docs/events.md lists. */
import { readFileSync } from 'node:fs'

/** The names in the table of a kind of line, such as `train: start`, and other kinds whose fields it has too. */
interface Documented {
  readonly names: string[]
  readonly like: string[]
}

const ALL = 'All commands'

const documented = read(readFileSync(new URL('../../../../docs/events.md', import.meta.url), 'utf8'))

function read(page: string): ReadonlyMap<string, Documented> {
  const kinds = new Map<string, Documented>()
  let commands: string[] = []
  let current: Documented | undefined
  for (const line of page.split('\n')) {
    if (line.startsWith('## '))
      commands = line.includes(ALL) ? [ALL] : [...line.matchAll(/choir (\w+)/g)].map(([, name]) => name ?? '')
    const kind = /^### `(.+)`$/.exec(line)?.[1]
    if (kind !== undefined) {
      current = { names: [], like: [] }
      for (const command of commands) kinds.set(`${command}: ${kind}`, current)
    }
    const cell = /^\| (.+?) \|/.exec(line)?.[1]
    if (cell === undefined || !current) continue
    const names = [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? '')
    if (cell.startsWith('as ')) current.like.push(...names)
    else current.names.push(...names)
  }
  return kinds
}

/** Fields that are objects with the fields of another kind of line. */
const nested: Readonly<Record<string, string>> = {
  last: 'train: train',
  evaluation: 'train: eval',
  'best[]': 'plan: prediction',
  'pareto[]': 'plan: prediction',
  'rejected[].prediction': 'plan: prediction',
  'changes[].best': 'plan: prediction',
  'cases[].plan': 'plan: plan',
}

/** Fields that are objects with the names of a file. */
const verbatim = /^(config|run|cluster|record|from\.differences|rows\[\]\.row)$/

/** Paths of all fields of a line, such as `memory[].bytes`, without the fields of {@link verbatim} objects. */
export function eventFields(value: object, prefix = ''): string[] {
  const names = Object.entries(value).flatMap(([name, field]): string[] => {
    const path = prefix + name
    if (verbatim.test(path) || /\.plan\.(run|cluster)$/.test(path)) return [path]
    return valueFields(field, path)
  })
  return [...new Set(names)]
}

function valueFields(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [path] : value.flatMap((item) => valueFields(item, `${path}[]`))
  return typeof value === 'object' && value !== null ? eventFields(value, `${path}.`) : [path]
}

/** Fields of a line that the page does not list. */
export function undocumented(command: string, event: Record<string, unknown>): string[] {
  const { kind, version: _, ...fields } = event
  const key = [command, ALL].map((of) => `${of}: ${kind}`).find((name) => documented.has(name))
  if (key === undefined) return [`kind ${kind}`]
  return eventFields(fields).filter((path) => !isListed(key, path))
}

function isListed(key: string, path: string): boolean {
  const { names = [], like = [] } = documented.get(key) ?? {}
  const command = key.split(':')[0]
  const others = like.map(
    (kind) =>
      [command, 'train', ALL].map((of) => `${of}: ${kind}`).find((name) => name !== key && documented.has(name)) ?? '',
  )
  if (others.some((other) => isListed(other, path))) return true
  for (const name of names) {
    // The field may be an empty list, also one in an item of a list, or a list of values.
    const lists = [/\[\].*$/, /\[\][^[]*$/].map((end) => name.replace(end, ''))
    if ([name, ...lists, `${name}[]`].some((each) => matches(each, path))) return true
    const inner = nested[name]
    if (
      inner !== undefined &&
      path.startsWith(`${name}.`) &&
      (path.slice(name.length + 1) === 'kind' || isListed(inner, path.slice(name.length + 1)))
    )
      return true
  }
  return false
}

/** Whether a path matches a pattern, in which `*` is any name. */
const matches = (pattern: string, path: string): boolean => {
  const [own, given] = [
    pattern.split('.'),
    path.replace(/(\[\])+$/, (end) => (pattern.endsWith('*') ? '' : end)).split('.'),
  ]
  return own.length === given.length && own.every((part, i) => part === '*' || part === given[i])
}
