/** The frame of a self-contained page. Its content security policy forbids scripts, fonts and requests. */

import { type Child, element, styleElement } from '../markup.ts'
import { pageStyle } from './html-style.ts'

/** A whole page, as text. @param styles Styles beside the style of a report. */
export function htmlPage(title: string, styles: readonly string[], ...body: readonly Child[]): string {
  const head = element(
    'head',
    {},
    element('meta', { charset: 'utf-8' }),
    element('meta', { name: 'viewport', content: 'width=device-width, initial-scale=1' }),
    element('meta', {
      'http-equiv': 'Content-Security-Policy',
      content: "default-src 'none'; style-src 'unsafe-inline'",
    }),
    element('meta', { name: 'color-scheme', content: 'light dark' }),
    element('meta', { name: 'generator', content: 'choir' }),
    element('title', {}, title),
    [pageStyle, ...styles].map((style) => styleElement(style)),
  )
  return `<!DOCTYPE html>\n${element('html', { lang: 'en' }, head, '\n', element('body', {}, ...body)).text}\n`
}
