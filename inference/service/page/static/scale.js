// Colours of the tile map: blue (0) over pale yellow to red (1), as in the reports (slide_report/heatmap.py).

export const STOPS = [
  [49, 70, 149],
  [116, 173, 209],
  [255, 247, 190],
  [244, 130, 67],
  [165, 0, 38],
];

/** [r, g, b] of a value in [0, 1]. */
export function colourOf(value) {
  const at = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[low].map((from, channel) => Math.round(from + (at - low) * (STOPS[low + 1][channel] - from)));
}
