/**
 * The view of the tokens page, in the address: runs, text and layer. A pasted text is stored in the address too if it
 * is short enough, otherwise in the session of the tab.
 */
import { batch, computed, signal } from '@preact/signals'
import { flag, inAddress, index, oneOf, optional, text } from '../shared/view-state.ts'

export const runA = inAddress('a', optional(text), null, true)
export const runB = inAddress('b', optional(text), null, true)
const sources = ['document', 'text'] as const
export const source = inAddress('source', oneOf(sources), 'document', true)
export const document = inAddress('document', index, 0, true)
export const layer = inAddress('layer', index, 0)
export const module = inAddress('module', text, 'ffn')
/** Index of the coloured choice of a token. */
export const choice = inAddress('choice', index, 0)
/** An expert of the first and of the second run whose tokens are highlighted. */
export const marked = [inAddress('mark', optional(index), null), inAddress('mark-b', optional(index), null)] as const
export const numbers = inAddress('numbers', flag, false)

const MAX_ADDRESS_LENGTH = 2000
const key = 'choir:text'
const addressText = inAddress('text', text, '', true)
const sessionText = signal(sessionStorage.getItem(key) ?? '')

/** The text that was submitted last. */
export const pasted = computed(() => addressText.value || sessionText.value)

export function paste(pastedText: string): void {
  const fits = pastedText.length < MAX_ADDRESS_LENGTH
  batch(() => {
    source.value = 'text'
    addressText.value = fits ? pastedText : ''
    sessionText.value = fits ? '' : pastedText
  })
  try {
    sessionStorage.setItem(key, sessionText.value)
  } catch {
    // A text that is too long for the session storage is kept until the page is closed.
  }
}
