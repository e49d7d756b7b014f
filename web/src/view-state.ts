/**
 * What is looked at, all of it in the address: a view can be bookmarked, sent, and gone back to. A field that has
 * its default is left out of the address.
 */
import { effect, type Signal, signal } from '@preact/signals'

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
  readonly load: (text: string | null) => void
  /** Undefined when it has its default. */
  readonly save: () => string | undefined
}

const fields: Field[] = []

/** A signal that lives in the address under `key`. To be made once, at the top of a module. */
export function inAddress<T>(key: string, { write, read }: Codec<T>, fallback: T): Signal<T> {
  const value = signal(fallback)
  const load = (given: string | null) => {
    const known = given === null ? undefined : read(given)
    value.value = known === undefined ? fallback : known
  }
  fields.push({
    key,
    load,
    save: () => (write(value.value) === write(fallback) ? undefined : write(value.value)),
  })
  load(new URLSearchParams(location.search).get(key))
  return value
}

/** Keeps address and fields alike. A change of the view named by `page` is a step in the browser's history. */
export function followAddress(page: Signal<string>): void {
  let shown = page.value
  addEventListener('popstate', () => {
    const parameters = new URLSearchParams(location.search)
    for (const { key, load } of fields) load(parameters.get(key))
    shown = page.value
  })
  effect(() => {
    const parameters = new URLSearchParams()
    for (const { key, save } of fields) {
      const saved = save()
      if (saved !== undefined) parameters.set(key, saved)
    }
    const search = parameters.size > 0 ? `?${parameters}` : ''
    if (search === location.search) return
    const address = `${location.pathname}${search}`
    if (page.value === shown) history.replaceState(null, '', address)
    else history.pushState(null, '', address)
    shown = page.value
  })
}
