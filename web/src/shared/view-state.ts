/**
 * The state of the view, all of it in the address, so that a view can be bookmarked, sent and returned to. Fields with
 * their default value are left out.
 */
import { batch, effect, type Signal, signal } from '@preact/signals'

/** Converts a field to and from its text in the address. */
interface Codec<T> {
  readonly write: (value: T) => string
  /** The value of a text; undefined for invalid text, so that the field has its default. */
  readonly read: (text: string) => T | undefined
}

export const text: Codec<string> = { write: (value) => value, read: (value) => value }
export const number: Codec<number> = {
  write: String,
  read: (value) => (Number.isFinite(Number(value)) && value !== '' ? Number(value) : undefined),
}
/** An index into a list, from 0. */
export const index: Codec<number> = {
  write: String,
  read: (value) => (/^\d{1,15}$/.test(value) ? Number(value) : undefined),
}
export const flag: Codec<boolean> = {
  write: (value) => (value ? '1' : '0'),
  read: (value) => (value === '1' ? true : value === '0' ? false : undefined),
}
export const list: Codec<readonly string[]> = {
  write: (value) => value.join(','),
  read: (value) => (value === '' ? [] : value.split(',')),
}
export const optional = <T>({ write, read }: Codec<T>): Codec<T | null> => ({
  write: (value) => (value === null ? '' : write(value)),
  read: (value) => (value === '' ? null : read(value)),
})
export const oneOf = <T extends string>(values: readonly T[]): Codec<T> => ({
  write: (value) => value,
  read: (value) => values.find((each) => each === value),
})

interface Field {
  readonly key: string
  /** Whether a change adds an entry to the browser's history. */
  readonly step: boolean
  readonly load: (text: string | null) => void
  /** Whether a text in the address is a value of the field. */
  readonly accepts: (text: string) => boolean
  /** Text of the value in the address; undefined for the default. */
  readonly save: () => string | undefined
}

const fields: Field[] = []

/**
 * A signal that is stored in the address under `key`. Create it once, at the top of a module.
 * @param step Whether a change adds an entry to the browser's history: for navigation, not for adjustments.
 */
export function inAddress<T>(key: string, { write, read }: Codec<T>, fallback: T, step = false): Signal<T> {
  const value = signal(fallback)
  const load = (saved: string | null) => {
    const parsed = saved === null ? undefined : read(saved)
    value.value = parsed === undefined ? fallback : parsed
  }
  fields.push({
    key,
    step,
    load,
    accepts: (saved) => read(saved) !== undefined,
    save: () => (write(value.value) === write(fallback) ? undefined : write(value.value)),
  })
  load(new URLSearchParams(location.search).get(key))
  return value
}

/** Parameters of the address that the page was opened with, and that have no meaning: unknown names, invalid values. */
export const ignored = signal<readonly string[]>([])

/** Longest text of an ignored parameter. */
const MAX_IGNORED = 60

/** The parameters without a meaning. @param search The query of an address; `token` is for the server */
const ignoredIn = (search: string): string[] =>
  [...new URLSearchParams(search)].flatMap(([name, value]) => {
    const field = fields.find(({ key }) => key === name)
    if (name === 'token' || field?.accepts(value)) return []
    return [(field ? `${name}=${value}` : name).slice(0, MAX_IGNORED)]
  })

/** Keeps the address and the fields in step. */
export function followAddress(): void {
  // The parameters are about to disappear from the address.
  ignored.value = ignoredIn(location.search)
  /** Set while fields are read from the address. Invalid fields are then corrected without a history entry. */
  let isReading = true
  let before: ReadonlyMap<string, string | undefined> = new Map()
  effect(() => {
    const saved = new Map(fields.map(({ key, save }) => [key, save()]))
    const isStep = !isReading && fields.some(({ key, step }) => step && saved.get(key) !== before.get(key))
    before = saved
    const parameters = new URLSearchParams()
    for (const [key, value] of saved) if (value !== undefined) parameters.set(key, value)
    const search = parameters.size > 0 ? `?${parameters}` : ''
    if (search === location.search) return
    const address = `${location.pathname}${search}${location.hash}`
    if (isStep) history.pushState(null, '', address)
    else history.replaceState(null, '', address)
  })
  isReading = false
  addEventListener('popstate', () => {
    const parameters = new URLSearchParams(location.search)
    isReading = true
    // In one batch, so that no mixture of two views is shown.
    batch(() => {
      for (const { key, load } of fields) load(parameters.get(key))
    })
    isReading = false
  })
}
