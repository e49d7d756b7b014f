/** Makes arbitrary text safe to show in XML, HTML, SVG and on a terminal. */

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/**
 * Escapes text for the content of elements and quoted attributes. Characters that XML forbids, lone surrogates too,
 * become U+FFFD.
 */
export const escapeXml = (text: string): string =>
  text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters on purpose
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu, '\ufffd')
    .replace(/[&<>"']/g, (found) => entities[found] ?? found)

/**
 * Cleans a name from an untrusted source: control characters and marks that change the text direction become U+FFFD,
 * so it cannot alter how the text around it is displayed.
 */
export const sanitize = (text: string): string =>
  text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters on purpose
    /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufffe\uffff]|\p{Bidi_Control}|\p{Surrogate}/gu,
    '\ufffd',
  )
