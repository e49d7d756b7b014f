/** The rules of accessibility that every page must meet. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'
import { expect } from 'vitest'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const axeRules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

/**
 * Violations in the visible page: what axe finds (names, roles, order of headings, contrast of text), and controls with a
 * faint edge, which axe does not look at.
 */
export async function violationsOn(page: Page, rules: readonly string[] = axeRules): Promise<readonly string[]> {
  // The many nodes that passed are left out of the result.
  const options = JSON.stringify({ runOnly: rules, resultTypes: ['violations'] })
  await page.evaluate(axe)
  const { violations, passes } = (await page.evaluate(`axe.run(${options})`)) as AxeResults
  // Of a dialog over a page, axe cannot always tell the ground of the text.
  if ((await page.getByRole('dialog').count()) === 0) expect(passes.map(({ id }) => id)).toContain('color-contrast')
  const faint = (await page.evaluate(faintEdges)) as readonly string[]
  return [
    ...violations.flatMap(({ help, nodes }) => nodes.map(({ html }) => `${help}: ${html}`)),
    ...faint.map((html) => `The edge of a control must have a contrast of 3:1: ${html}`),
  ]
}

/**
 * Finds visible and enabled controls whose edge and ground both differ too little from the ground around them: a contrast
 * below 3:1 by the formula of WCAG 2.2. Colours are read from a canvas, since styles have them in many notations.
 */
const faintEdges = `(() => {
  const context = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
  const channels = (css) => {
    context.clearRect(0, 0, 1, 1)
    context.fillStyle = css
    context.fillRect(0, 0, 1, 1)
    return context.getImageData(0, 0, 1, 1).data
  }
  const luminance = (data) => {
    const [r, g, b] = [...data].slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y)
    return (high + 0.05) / (low + 0.05)
  }
  const groundOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const data = channels(getComputedStyle(at).backgroundColor)
      if (data[3] === 255) return data
    }
    return channels('white')
  }
  return [...document.querySelectorAll('button, select, textarea, input[type=text], input[type=number], .choices > div, .file-button')]
    .filter((element) => element.checkVisibility() && !element.disabled && getComputedStyle(element).borderTopStyle !== 'none')
    .filter((element) => {
      const edge = channels(getComputedStyle(element).borderTopColor)
      const around = groundOf(element.parentElement)
      return edge[3] > 0 && contrast(edge, around) < 3 && contrast(groundOf(element), around) < 3
    })
    .map((element) => element.outerHTML.slice(0, 80))
})()`
