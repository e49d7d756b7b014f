/**
 * What is looked at, all of it in the address: a view can be bookmarked, sent, and gone back to. A field that has
 * its default is left out of the address.
 */
import { batch, effect, type Signal, signal } from '@preact/signals'

/** How a field stands in the address. */
interface Codec<T> {
  readonly write: (value: T) => string
  /** Undefined for text that means nothing: the default is taken. */
  readonly read: (text: string) => T | undefined
}

export const text: Codec<string> = { write: (value) => value, read: (value) => value }
export const number: Codec<number> = {
  write: String,
  read: (value) => (Number.isFinite(Number(value)) && value !== '' ? Number(value) : undefined),
}
/** Of a place in a list, which begins at 0. */
export const index: Codec<number> = {
  write: String,
  read: (value) => (/^\d{1,15}$/.test(value) ? Number(value) : undefined),
}
export const flag: Codec<boolean> = { write: (value) => (value ? '1' : '0'), read: (value) => value === '1' }
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
  /** Whether a change is a step that one can go back. */
  readonly step: boolean
  readonly load: (text: string | null) => void
  /** Undefined when it has its default. */
  readonly save: () => string | undefined
}

const fields: Field[] = []

/**
 * A signal that lives in the address under `key`. To be made once, at the top of a module.
 * @param step Whether a change is a step in the browser's history: what somebody goes to, not what is adjusted there.
 */
export function inAddress<T>(key: string, { write, read }: Codec<T>, fallback: T, step = false): Signal<T> {
  const value = signal(fallback)
  const load = (given: string | null) => {
    const known = given === null ? undefined : read(given)
    value.value = known === undefined ? fallback : known
  }
  fields.push({
    key,
    step,
    load,
    save: () => (write(value.value) === write(fallback) ? undefined : write(value.value)),
  })
  load(new URLSearchParams(location.search).get(key))
  return value
}

/** Keeps address and fields alike. */
export function followAddress(): void {
  /** Set while fields follow the address: what means nothing in it is then put right, which is no step. */
  let follows = true
  let before: ReadonlyMap<string, string | undefined> = new Map()
  effect(() => {
    const saved = new Map(fields.map(({ key, save }) => [key, save()]))
    const isStep = !follows && fields.some(({ key, step }) => step && saved.get(key) !== before.get(key))
    before = saved
    const parameters = new URLSearchParams()
    for (const [key, value] of saved) if (value !== undefined) parameters.set(key, value)
    const search = parameters.size > 0 ? `?${parameters}` : ''
    if (search === location.search) return
    const address = `${location.pathname}${search}`
    if (isStep) history.pushState(null, '', address)
    else history.replaceState(null, '', address)
  })
  follows = false
  addEventListener('popstate', () => {
    const parameters = new URLSearchParams(location.search)
    follows = true
    // All at once: what is half-way between two views is none.
    batch(() => {
      for (const { key, load } of fields) load(parameters.get(key))
    })
    follows = false
  })
}
