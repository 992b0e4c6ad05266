"""What DICOM files say of themselves: elements, headers, series, colours."""
