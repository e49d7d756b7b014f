/** Colours of the style sheet, for what is drawn on a canvas. */
import { computed } from '@preact/signals'
import { dark } from '../../shell/theme.ts'
import type { Ink } from './figure.ts'

export const ink = computed<Ink>(() => {
  // The style sheet follows the theme; reading it here makes this follow too.
  void dark.value
  const style = getComputedStyle(document.documentElement)
  const color = (name: string) => style.getPropertyValue(name).trim()
  return { back: color('--back'), text: color('--text'), quiet: color('--quiet'), grid: color('--grid') }
})
