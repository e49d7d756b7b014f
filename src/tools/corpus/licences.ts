/** Finds the names of the licences in a copyright file of Debian. */

/** Phrases that identify the licences of a copyright file in free form. */
const phrases: readonly (readonly [RegExp, string])[] = [
  [/GNU Free Documentation License|GNU FDL/i, 'GFDL'],
  [/(?:Lesser|Library) General Public License/i, 'LGPL'],
  [/GNU General Public License/i, 'GPL'],
  [/Apache License/i, 'Apache'],
  [/Creative Commons/i, 'CC'],
  [/Artistic License/i, 'Artistic'],
  [/Python Software Foundation License|PSF LICENSE/i, 'PSF'],
  [/Permission is hereby granted, free of charge/i, 'MIT'],
  [/Redistribution and use in source and binary forms/i, 'BSD'],
  [/public domain/i, 'public-domain'],
]

/**
 * The licences in a copyright file, each once: from its fields if it has the machine-readable format, otherwise by the
 * phrases in its text. Empty if it has no known phrase.
 */
export function licencesOf(copyright: string): string[] {
  // https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
  if (/^Format:/im.test(copyright)) {
    const names = [...copyright.matchAll(/^License:[ \t]*(\S.*)$/gim)].map((match) => (match[1] as string).trim())
    return [...new Set(names)]
  }
  const joined = copyright.replace(/\s+/g, ' ')
  return phrases.filter(([phrase]) => phrase.test(joined)).map(([, name]) => name)
}
