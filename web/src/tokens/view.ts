/**
 * Whose routing of which text is looked at, in the address. A pasted text goes there too as long as an address can
 * hold it; a longer one stays with this tab.
 */
import { batch, computed, signal } from '@preact/signals'
import { flag, inAddress, index, oneOf, optional, text } from '../view-state.ts'

export const runA = inAddress('a', optional(text), null, true)
export const runB = inAddress('b', optional(text), null, true)
const sources = ['document', 'text'] as const
export const source = inAddress('source', oneOf(sources), 'document', true)
export const document = inAddress('document', index, 0, true)
export const layer = inAddress('layer', index, 0)
export const module = inAddress('module', text, 'ffn')
/** Which of the choices of a token: of a prototype, first or second. */
export const choice = inAddress('choice', index, 0)
/** An expert whose tokens stand out. */
export const marked = inAddress('mark', optional(index), null)
export const numbers = inAddress('numbers', flag, false)

const MAX_ADDRESS_LENGTH = 2000
const key = 'choir:text'
const short = inAddress('text', text, '', true)
const long = signal(sessionStorage.getItem(key) ?? '')

/** The text that was last sent off. */
export const pasted = computed(() => short.value || long.value)

export function paste(given: string): void {
  const fits = given.length < MAX_ADDRESS_LENGTH
  batch(() => {
    source.value = 'text'
    short.value = fits ? given : ''
    long.value = fits ? '' : given
  })
  try {
    sessionStorage.setItem(key, long.value)
  } catch {
    // Too long for the browser too: it lasts as long as the page.
  }
}
