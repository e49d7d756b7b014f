/** The head of a self-contained page. Its content security policy forbids scripts, fonts and requests. */
import { element, type Markup, styleElement } from './markup.ts'

export const headOf = (title: string, ...styles: readonly string[]): Markup =>
  element(
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
    styles.map((style) => styleElement(style)),
  )
