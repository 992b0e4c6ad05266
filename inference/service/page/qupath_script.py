"""A script for QuPath that opens a slide and lays a result's tiles and outline over it, coloured by tile score."""

import json

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.scoring.slide_result import SlideRecord

SCRIPT = """\
// {notice}
// Slide {slide_id}: opens it in QuPath (0.5 or later) with its tiles and outline.
// Save tiles.geojson and, if there is one, tumour.geojson of the slide's page into one folder, then run this:
// Automate > Script editor > Run. It asks for the slide and for that folder.
import javafx.application.Platform
import qupath.fx.dialogs.Dialogs
import qupath.fx.dialogs.FileChoosers
import qupath.lib.color.ColorMaps
import qupath.lib.gui.tools.MeasurementMapper
import qupath.lib.io.PathIO

def slideId = {slide_json}
def width = {width}
def height = {height}
def measurement = {measurement_json}

Platform.runLater {{
    def qupath = getQuPath()
    def slide = FileChoosers.promptForFile("Slide " + slideId)
    if (slide == null) return
    def folder = FileChoosers.promptForDirectory("Folder of tiles.geojson of " + slideId, slide.getParentFile())
    if (folder == null) return
    if (!qupath.openImage(qupath.getViewer(), slide.getAbsolutePath())) return
    def imageData = qupath.getViewer().getImageData()
    def server = imageData.getServer()
    if (server.getWidth() != width || server.getHeight() != height) {{
        Dialogs.showErrorMessage("pathoprog", "This is not slide " + slideId + ": it has " + server.getWidth() +
            " x " + server.getHeight() + " pixels, the result is of " + width + " x " + height + ".")
        return
    }}
    def hierarchy = imageData.getHierarchy()
    ["tiles.geojson", "tumour.geojson"].each {{ name ->
        def file = new File(folder, name)
        if (file.isFile()) hierarchy.addObjects(PathIO.readObjects(file))
    }}
    def colours = ColorMaps.getColorMaps().get("Viridis")
    def mapper = new MeasurementMapper(colours, measurement, hierarchy.getObjects(null, null))
    mapper.setDisplayMinValue(0)
    mapper.setDisplayMaxValue(1)
    qupath.getViewer().getOverlayOptions().setMeasurementMapper(mapper)
    Dialogs.showInfoNotification("pathoprog", {caption_json})
}}
"""


def qupath_script(slide_id: str, slide: SlideRecord, resolution: str, caption: str) -> str:
    """The script's text.

    Args:
        slide_id: of the slide; only ever written as a string of the script.
        slide: width and height by which the script knows the slide again.
        resolution: whose tiles' scores give the colours.
        caption: what a tile's score is and is not.
    """
    return SCRIPT.format(
        notice=RESEARCH_USE_ONLY,
        slide_id="".join(letter if letter.isalnum() or letter in " -_.()" else "_" for letter in slide_id),
        slide_json=_groovy(slide_id),
        width=slide.width,
        height=slide.height,
        measurement_json=_groovy(f"{resolution} tile score"),
        caption_json=_groovy(f"{caption} {RESEARCH_USE_ONLY}"),
    )


def _groovy(text: str) -> str:
    """A string of Groovy: JSON's escapes are Groovy's too, and a dollar sign would begin an expression."""
    return json.dumps(text).replace("$", "\\$")
