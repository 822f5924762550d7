package controllers

// StillThere is what is asked before something is made that an object owns.
var StillThere = stillThere
